"""What the outputs of a trained model mean: shares of classes, independent labels, or quantities."""

from dataclasses import dataclass

import keras
import numpy as np

from convcraft import zoo

from . import losses

# layers that make probabilities of probabilities: the same numbers, or their means
SAME = ("linear", "classnames", "identity", "flatten", "reshape", "dropout", "average", "globalaveragepooling2d")
KINDS = ("softmax", "multilabel", "regression")


@dataclass(frozen=True)
class Head:
    """How to read outputs.

    Attributes:
        kind: "softmax" (one class a picture), "binary" (one of two classes, by one output: how sure it is of the
            second), "multilabel" (any number of them) or "regression".
        logits: whether the outputs are not probabilities yet.
    """

    kind: str
    logits: bool

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities in double precision, of two classes by one output both; of a regression the outputs.

        Example:
            >>> Head("softmax", True).values(np.array([[0.0, 0.0]])).tolist()
            [[0.5, 0.5]]
        """
        outputs = np.asarray(outputs, "float64")
        if self.logits and self.kind in ("binary", "multilabel"):
            outputs = 1 / (1 + np.exp(-np.clip(outputs, -500, 500)))
        if self.kind == "binary":
            return np.concatenate([1 - outputs, outputs], axis=-1)
        if not self.logits or self.kind == "multilabel":
            return outputs
        outputs = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        return outputs / outputs.sum(axis=-1, keepdims=True)

    def entropy(self, shares: np.ndarray) -> float | None:
        """Of a row of probabilities, in nats; of independent labels the sum of each one's; None for a regression."""
        if self.kind == "regression":
            return None
        total = -np.sum(shares * np.log(np.maximum(shares, 1e-300)))
        if self.kind == "multilabel":
            total -= np.sum((1 - shares) * np.log(np.maximum(1 - shares, 1e-300)))
        return float(max(total, 0.0))


def find(model: keras.Model, kind: str | None = None) -> Head:
    """What a model's outputs mean.

    A last activation tells, and the loss that it was compiled with; of the zoo's models, whose outputs are logits,
    the classes' names that stand at the end. Models that were built for several labels are told from those for one
    class by their loss alone. One output of a sigmoid is of two classes, unless it has a class's name.

    Args:
        model: a functional model with one output.
        kind: "softmax", "multilabel" or "regression", where its user knows; None: what can be found out.

    Raises:
        ValueError: for a model that gives no row of outputs, and where nothing tells.

    Example:
        >>> find(zoo.create("squeezenet_cifar", classes=["ant", "bee"]))
        Head(kind='softmax', logits=True)
    """
    if kind not in (None, *KINDS):
        raise ValueError(f"Expected head to be one of {', '.join(KINDS)}; received {kind!r}.")
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2:
        what = "a map of classes" if isinstance(shape, tuple) and len(shape) == 4 else f"outputs of shape {shape}"
        raise ValueError(f"Expected a model with one row of outputs an image; {model.name} gives {what}.")
    bent = _activation(model.outputs[0])
    found = kind or {"softmax": "softmax", "sigmoid": "multilabel"}.get(bent or "") or _by_loss(model)
    if found is None and zoo.class_names(model) is not None:
        found = "softmax"
    if found is None:
        raise ValueError(
            f"Nothing tells what the {shape[-1]} outputs of {model.name} mean: it has no class names, no last "
            f"activation and no loss. Add --head {', --head '.join(KINDS)}."
        )
    loss = getattr(model, "loss", None)
    # that they are probabilities, where no layer tells
    said = losses.crossentropy(loss) is not None and not losses.from_logits(loss) and bent is None
    if found == "multilabel" and kind is None and shape[-1] == 1 and zoo.class_names(model) is None:
        found = "binary"
    return Head(found, found != "regression" and bent not in ("softmax", "sigmoid") and not said)


def last_activation(model: keras.Model) -> str | None:
    """The activation that makes the outputs, "softmax" or "sigmoid"; None for others and for none.

    Args:
        model: functional; of several outputs the first is looked at.
    """
    found = _activation(model.outputs[0])
    return found if found in ("softmax", "sigmoid") else None


def _activation(tensor):
    """As `last_activation`, of a tensor; "linear" where weights without an activation come last."""
    layer, node, _ = tensor._keras_history
    if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
        return _activation(layer.outputs[0])
    # Keras's layer Softmax; or keras.ops.softmax and sigmoid, which stand in the graph under their names
    name = getattr(getattr(layer, "activation", None), "__name__", None) or type(layer).__name__.lower()
    if name in ("softmax", "sigmoid"):
        return name
    if name not in SAME or getattr(layer, "weights", None):
        return "linear" if name == "linear" else None
    found = {_activation(each) for each in layer._inbound_nodes[node].input_tensors}
    return found.pop() if len(found) == 1 else None


def _by_loss(model):
    loss = getattr(model, "loss", None)
    if loss is None or isinstance(loss, list | tuple | dict):
        return None
    classes = losses.crossentropy(loss)
    if classes:
        return "multilabel" if classes == "binary" else "softmax"
    return "regression" if losses.is_regression(loss) else None
