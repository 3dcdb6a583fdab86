"""Every activation by its name, as a layer, and wherever Keras takes a string."""

from typing import Any

import keras
from keras import ops

from .base import Tensor, register
from .keras_names import ACTIVATIONS, near, parse
from .maxout import Maxout
from .prelu import PReLU
from .rrelu import RReLU


@register
def scaled_tanh(x: Tensor) -> Tensor:
    """1.73 tanh(2x/3), about LeCun's (1998, "Efficient BackProp"), which keeps the variance near 1."""
    return 1.73 * ops.tanh(x * (2 / 3))


@register
def softplus_log2(x: Tensor) -> Tensor:
    """log(1 + e^x) - log 2: softplus moved to pass through zero ("softplus-log2" of Mishkin et al. 2016)."""
    return ops.softplus(x) - 0.6931471805599453


FUNCTIONS = {"scaled_tanh": scaled_tanh, "softplus_log2": softplus_log2}


def activation(kind: str, **kwargs: Any) -> keras.layers.Layer:
    """A new layer for an activation's name.

    The same names work wherever Keras takes a string, as in `keras.layers.Dense(8, activation="very_leaky")`, once
    `convcraft.layers` is imported, before or after Keras. There too a name makes a new object each time: layers share
    neither slopes nor noise.

    | name | formula for negative x (x itself otherwise) or for all x |
    |---|---|
    | relu leaky very_leaky | 0, .01 x, x/3; `leaky0.2` has slope .2 |
    | prelu | learned slope, one a channel, .25 at the start; `prelu0.1` starts at .1 |
    | rrelu rrelu_paper | random slope in training, see `RReLU`: fixed at 11/48 or 2/11 otherwise |
    | elu selu | e^x - 1; `elu0.5` is .5 (e^x - 1); selu scaled to keep mean and variance |
    | gelu silu softplus sigmoid tanh linear | Keras's |
    | relu6 hard_silu | min(max(x, 0), 6), and x times that of x + 3, over 6: of MobileNet V1 and V2, and of V3 |
    | softplus_log2 | log(1 + e^x) - log 2, for all x |
    | scaled_tanh | 1.73 tanh(2x/3), for all x |
    | maxout | the larger of two channels, half as many come out; `maxout3`: of three |

    `maxout` by name changes the width of the layer it is given to: Dense(16, activation="maxout") has 8 outputs.

    Args:
        kind: one of `activation_names()`, with a number where the table shows one, or any other name of Keras's.
        kwargs: of the layer: `name`, `dtype`, ….

    Example:
        >>> np.asarray(activation("very_leaky")(np.array([-3.0, 3.0], "float32"))).tolist()
        [-1.0, 3.0]
        >>> keras.layers.Conv2D(8, 3, activation="prelu0.1").activation.slope
        0.1
    """
    parsed = parse(kind) if isinstance(kind, str) else None
    if parsed is None:
        return _keras_activation(kind, kwargs)
    kind, number = parsed
    if kind in ("leaky", "very_leaky"):
        slope = 1 / 3 if kind == "very_leaky" else 0.01 if number is None else number
        return keras.layers.LeakyReLU(slope, **kwargs)
    if kind == "prelu":
        return PReLU(0.25 if number is None else number, **kwargs)
    if kind == "rrelu":
        return RReLU(**kwargs)
    if kind == "rrelu_paper":
        return RReLU.paper(**kwargs)
    if kind == "maxout":
        return Maxout(pieces=2 if number is None else int(number), **kwargs)
    if kind == "elu" and number is not None:
        return keras.layers.ELU(number, **kwargs)
    return keras.layers.Activation(FUNCTIONS.get(kind, kind), **kwargs)


def _keras_activation(kind, kwargs):
    try:
        if isinstance(kind, str):
            return keras.layers.Activation(kind, **kwargs)
    except ValueError as error:
        if "Could not interpret" not in str(error):
            raise
    raise ValueError(
        f"activation: expected kind to be one of {', '.join(ACTIVATIONS)}, leaky, prelu or elu with a slope, maxout "
        f"with a number, or a name of Keras's; received {kind!r}.{near(kind) if isinstance(kind, str) else ''}"
    )


def activation_names() -> tuple[str, ...]:
    """The names that `activation` is told of here; a number can follow leaky, prelu, elu and maxout.

    Example:
        >>> "very_leaky" in activation_names()
        True
    """
    return ACTIVATIONS


def for_keras(name: str) -> Any:
    """What `keras.activations.get` returns for a name of ours."""
    return FUNCTIONS[name] if name in FUNCTIONS else activation(name)
