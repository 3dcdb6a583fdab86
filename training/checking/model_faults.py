"""What is wrong with a network before its first step: its size, its answers to a few images, its first weights."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from convcraft.layers.base import to_numpy
from convcraft.zoo.graphs import is_model

from .. import distribute
from ..diagnosis.monitor import activation_of, activations
from ..diagnosis.symptoms import Finding
from ..heads import last_activation
from ..losses import from_logits
from .overfitting import Trial, learned, told

LEFT_OUT = 0.05  # share of the rows of a map that no window covers
FAINT = 0.02  # deviation of what the first weights are shown
LOUD = 16.0  # its root mean square, where nothing has scaled the images
ALIKE = 100.0  # times the variance that batch normalization knows
START = 3.0  # times the loss of guessing
BURST = 2.0  # times the first loss, or that of guessing
MOVED = 0.1  # relative fall of a loss that is on its way
CLEAR = 0.25  # the same, below guessing, where another rate is to be named
DEAD = 0.8  # share of a layer's units; deep networks without normalization begin with half
ENOUGH = 32  # images to call a unit dead by
SAME = 1e-4  # relative difference of units that are the same

FATAL = ("everything is frozen", "logits taken for probabilities", "all units alike")


def frozen(model: keras.Model) -> Finding | None:
    """No weight that training could change."""
    if model.trainable_variables:
        return None
    said = f"none of its {model.count_params():,} weights is trainable"
    return Finding(
        "everything is frozen", said, "Set trainable = True of some layers, the last at least, and compile anew"
    )


def probabilities(model: keras.Model, given: np.ndarray, kind: str) -> Finding | None:
    """Softmax before a loss that takes logits, or none before a loss that takes probabilities.

    Args:
        model: compiled.
        given: its answers to some images, classes last.
        kind: of its crossentropy.
    """
    logits = from_logits(model.loss)
    within = bool(np.isfinite(given).all() and given.min() >= 0 and given.max() <= 1 + 1e-3)
    if given.shape[-1] > 1 and kind != "binary":
        sums = given.sum(axis=-1, dtype="float64")
        shares, found = within and bool(np.abs(sums - 1).max() < 1e-2), f"sum to {sums.min():.3g} to {sums.max():.3g}"
    else:
        bent = last_activation(model) in ("sigmoid", "softmax") if getattr(model, "inputs", None) else False
        shares, found = (within and bent) if logits else within, f"are {given.min():.3g} to {given.max():.3g}"
    if logits and shares:
        said = f"the loss takes logits (from_logits=True), and answers {found}: they are probabilities already"
        return Finding("softmax twice", said, "Take out the last softmax or sigmoid, or say from_logits=False")
    if not logits and not shares:
        said = f"the loss takes probabilities (from_logits=False), and answers {found}"
        return Finding("logits taken for probabilities", said, "Say from_logits=True in the loss")
    return None


def left_out(model: keras.Model) -> Finding | None:
    """Rows and columns at the edge that no window covers, because a size does not divide."""
    worst, where = LEFT_OUT, ""
    for layer in model._flatten_layers(include_self=False):
        if getattr(layer, "padding", None) != "valid" or not getattr(layer, "strides", None):
            continue
        if not len(layer._inbound_nodes) or not isinstance(layer.input, keras.KerasTensor) or layer.input.ndim != 4:
            continue
        last = getattr(layer, "data_format", None) != "channels_first"
        sides = layer.input.shape[1:3] if last else layer.input.shape[2:4]
        windows = getattr(layer, "pool_size", None) or getattr(layer, "kernel_size", None)
        for side, window, stride in zip(sides, windows or (), layer.strides, strict=False):
            # wider windows share rows, and leave out one of every even size; narrower ones leave out most anyway
            if side is None or stride < 2 or window != stride:
                continue
            share = (side - window) % stride / side
            if share > worst:
                worst, where = share, f"{layer.name} leaves out {(side - window) % stride} of {side} rows or columns"
    if not where:
        return None
    sizes = "x".join(str(side) for side in model.inputs[0].shape[1:3])
    advice = "Choose an image size that all strides divide, or padding='same'"
    return Finding("image size does not divide", f"of images of {sizes}, {where}", advice)


def scale(model: keras.Model, images: np.ndarray) -> Finding | None:
    """What the first weights are shown is far too faint for them, or not what they were trained on."""
    name = "images of another range"
    range_ = f"images from {images.min():.3g} to {images.max():.3g}"
    first = entering(model, images, _holds_kernel)
    if first is None or images.std() == 0:
        return None
    layer, values = first
    if values.std() < FAINT:
        said = f"of {range_}, {layer.name} is shown values that deviate by {values.std():.2g}"
        return Finding(name, said, "The model scales images itself: give it 0-255, or take its scaling out")
    normal = entering(model, images, lambda layer: isinstance(layer, keras.layers.BatchNormalization))
    if normal is None:
        return None
    layer, values = normal
    known = np.asarray(keras.ops.convert_to_numpy(layer.moving_variance), "float64")
    if (known == 1).all():  # as it was made: it knows nothing yet
        return None
    here = values.var(axis=tuple(axis for axis in range(values.ndim) if axis != layer.axis % values.ndim))
    ratio = float(np.median(here / np.maximum(known, 1e-12)))
    if 1 / ALIKE < ratio < ALIKE:
        return None
    said = f"of {range_}, {layer.name} is shown {ratio:.2g} times the variance that it was trained on"
    return Finding(
        name, said, "Scale images as the weights were trained: 0-255, 0 to 1 or -1 to 1, see where they are from"
    )


def start(model: keras.Model, images: Any, loss: float, guessing: float) -> Finding | None:
    """The loss before the first step is far above that of guessing.

    Args:
        model: compiled.
        images: some; of several inputs a structure of arrays.
        loss: of them, without penalties.
        guessing: ln(classes).
    """
    if loss <= START * guessing:
        return None
    said = f"the loss is {loss:.3g} before the first step; guessing has {guessing:.3g}"
    single = isinstance(images, np.ndarray)
    first = entering(model, images, _holds_kernel) if single else None
    if first is not None:
        size, own = (float(np.sqrt(np.square(each, dtype="float64").mean())) for each in (first[1], images))
        if size > LOUD and math.isclose(size, own, rel_tol=1e-3):
            said += f"; {first[0].name} is shown images from {images.min():.3g} to {images.max():.3g} as they are"
            return Finding(
                "images are not scaled", said, "Add a first layer, Rescaling(1 / 127.5, -1), or scale images"
            )
    advice = "Smaller first weights (he_normal, lsuv), normalization; weights of another task want a new head"
    return Finding("loss at start too high", said, advice)


def dead(model: keras.Model, images: np.ndarray) -> Finding | None:
    """Units that are 0 for all images."""
    looking = activations(model)
    if looking is None or len(images) < ENOUGH:
        return None
    shares = {}
    for name, values in answers(looking, images).items():
        if activation_of(model.get_layer(name)) == "relu":
            shares[name] = float((values == 0).reshape(-1, values.shape[-1]).all(axis=0).mean())
    worst = max(shares, key=lambda name: shares[name], default="")
    if not worst or shares[worst] <= DEAD:
        return None
    said = f"{100 * shares[worst]:.0f} % of the units of {worst} are 0 for all of {len(images)} images"
    return Finding(
        "dead units", said, "Biases of 0, other first weights (he_normal, lsuv), normalization, or leaky ReLU"
    )


def alike(model: keras.Model, after: list[np.ndarray], steps: int) -> Finding | None:
    """Units of a layer that began alike and stayed alike: all get the same gradient, or none.

    Args:
        model: as it is.
        after: its trainable weights after some steps.
        steps: how many.
    """
    for variable, later in zip(model.trainable_variables, after, strict=True):
        now = np.asarray(keras.ops.convert_to_numpy(variable), "float64")
        if now.ndim > 1 and now.shape[-1] > 1 and _same(now) and _same(np.asarray(later, "float64")):
            kind = "are 0" if not later.any() else "are the same"
            layer = variable.path.rpartition("/")[0]
            said = f"weights of all {now.shape[-1]} units of {layer} {kind}, after {steps} steps still"
            advice = "Draw first weights at random: he_normal for ReLU, glorot_uniform else"
            return Finding("all units alike", said, advice)
    return None


def rate(trial: Trial, history: Mapping[str, list[float]], steps: int, guessing: float) -> Finding | None:
    """Why a few images were not learned by heart: the same at other rates.

    Args:
        trial: of the few images.
        history: at its own rate.
        steps: at most.
        guessing: the loss of guessing; 0 where there is none.
    """
    losses = np.asarray(history["loss"])
    if learned(history):
        return None
    first, last = losses[0], losses[-1]
    burst = not np.isfinite(losses).all() or losses.max() > BURST * max(first, guessing)
    if not burst and last < (1 - MOVED) * first:
        return None  # on its way
    own = f"at the rate of {trial.rate:.2g} the loss went from {first:.3g} "
    own += f"{'by way of ' + format(np.nanmax(losses), '.3g') + ' ' if burst else ''}to {last:.3g}"
    for factor in (0.1, 0.01, 0.001) if burst else (100, 1000, 10_000, 10, 0.1, 0.01):
        other = trial.learn(trial.rate * factor, steps)
        if learned(other) or other["loss"][-1] < (1 - CLEAR) * min(first, guessing or first):
            said = f"at a rate of {trial.rate * factor:.2g} {told(other, trial.count)}; {own}"
            name = "learning rate too high" if factor < 1 else "learning rate too low"
            return Finding(name, said, f"Take a rate near {trial.rate * factor:.2g}, or find one with find_lr")
    advice = "Look at images, labels and loss one by one; take layers out until a few images are learned"
    return Finding(
        "a few images are not learned by heart", f"{told(history, trial.count)}; at other rates neither", advice
    )


def entering(
    model: keras.Model, images: np.ndarray, wanted: Callable[[keras.layers.Layer], bool]
) -> tuple[keras.layers.Layer, np.ndarray] | None:
    """The first layer of a kind, and what it is shown; None where there is none, or the model is no graph."""
    if not is_model(model):
        return None
    for layer in model.layers:
        nested = is_model(layer)
        if isinstance(layer, keras.layers.InputLayer) or not (nested or wanted(layer)):
            continue
        if not isinstance(layer.input, keras.KerasTensor):
            return None
        same = layer.input is model.inputs[0]
        shown: Any = images if same else answers(keras.Model(model.inputs, layer.input), images)
        if not nested:
            return layer, np.asarray(shown, "float32")
        found = entering(layer, shown, wanted)
        if found is not None:
            return found
    return None


def answers(model: keras.Model, images: Any) -> Any:
    """What a model answers, in NumPy; without building a function for it, which takes longer than one use of it."""
    if keras.backend.backend() == "jax" or distribute.strategy_of(model) is not None:
        return distribute.answers(model, images)
    shown = keras.tree.map_structure(keras.ops.convert_to_tensor, images)
    return keras.tree.map_structure(to_numpy, model(shown, training=False))


def _holds_kernel(layer: keras.layers.Layer) -> bool:
    return any(len(variable.shape) > 1 for variable in layer._trainable_variables)


def _same(kernel: np.ndarray) -> bool:
    """Whether the last axis is all one."""
    flat = kernel.reshape(-1, kernel.shape[-1])
    return bool(np.isfinite(flat).all() and np.ptp(flat, axis=1).max() <= SAME * np.abs(flat).max())
