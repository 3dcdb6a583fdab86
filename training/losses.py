"""What a loss is, as `compile` takes it: a name, a function or an object. Imports nothing, for reports read it, too."""

from typing import Any

SHORT = {"bce": "binarycrossentropy", "mse": "meansquared", "mae": "meanabsolute"}  # Keras's own
REGRESSIONS = ("meansquared", "meanabsolute", "huber", "logcosh")


def crossentropy(loss: Any) -> str | None:
    """Of which classes a crossentropy is, or a focal loss.

    Returns:
        "sparse", "categorical" or "binary"; "any" for `BootstrappedCrossentropy`, which takes numbers and one-hot
        labels; None for what is none of classes.

    Example:
        >>> crossentropy("sparse_categorical_crossentropy"), crossentropy("mse")
        ('sparse', None)
    """
    name = _name(_inner(loss))
    if "crossentropy" not in name and "focal" not in name:
        return None
    if "bootstrapped" in name:
        return "any"
    return next((kind for kind in ("sparse", "binary", "categorical") if kind in name), None)


def is_regression(loss: Any) -> bool:
    """Whether a loss is of quantities.

    Example:
        >>> is_regression("mse")
        True
    """
    return any(name.startswith(REGRESSIONS) for name in _name(loss).split())


def from_logits(loss: Any) -> bool:
    """Whether a crossentropy takes logits.

    Example:
        >>> from_logits("binary_crossentropy")
        False
    """
    return bool(getattr(_inner(loss), "from_logits", False))


def _inner(loss: Any) -> Any:
    """What `ClassWeighted` weighs."""
    return getattr(loss, "loss", loss)


def _name(loss: Any) -> str:
    """In small letters; of an object that of its class and its own, either of which may say nothing."""
    if isinstance(loss, str):
        names = [loss]
    else:
        names = [getattr(loss, "__name__", type(loss).__name__), str(getattr(loss, "name", ""))]
    small = [name.lower().replace("_", "") for name in names]
    return " ".join(SHORT.get(name, name) for name in small)
