"""Bootstrapped crossentropy for wrong and missing labels (Reed et al. 2014, arXiv 1412.6596)."""

from typing import Any, Literal

import keras
from keras import ops

from .base import Tensor, is_number, register

BETAS = {"soft": 0.95, "hard": 0.8}


@register
class BootstrappedCrossentropy(keras.losses.Loss):
    """Crossentropy against a mixture of the label and the model's own prediction.

    L = -sum over classes of (beta t + (1 - beta) s) log q, with t the label, q the predicted probabilities, and s
    either q itself ("soft") or 1 for the most probable class ("hard").

    It helps where many labels are wrong, subjective or missing: the model may disagree with a label at a lower price.
    On clean labels it is no better than plain crossentropy, and early in training its own prediction is worth little:
    where noise is strong, train some epochs with crossentropy first, then compile with this loss.

    Soft lets the gradient flow through s, which makes it crossentropy plus (1 - beta) times the prediction's entropy
    (with s held fixed the gradient would be beta times crossentropy's, and nothing would be gained). Hard holds s
    fixed. The gradients for logits are beta (q - t) - (1 - beta) q (log q + H) with H the entropy, and
    q - beta t - (1 - beta) s.

    An example whose label is missing keeps its second term, (1 - beta) times the entropy or the loss for the class
    predicted: labelled and unlabelled images train together. It counts in the mean; sample weights can leave it out.
    With beta=1 nothing of it is left.

    In `compile`, `loss="bootstrapped_crossentropy"` is the soft form with the defaults.

    Args:
        kind: "soft" or "hard".
        beta: trust in the labels, from 0 to 1. None: the paper's .95 for soft, .8 for hard.
        from_logits: whether predictions are logits, not probabilities.
        label_smoothing: how much of each label is spread evenly over the classes, from 0 to 1.
        ignore: marks a missing label: the integer, or in one-hot targets a row of that number only (as 0: a row of
            zeros). None: there are none.
        axis: of the classes in the predictions.
        reduction: as in `keras.losses.Loss`.
        name: of the loss.
        dtype: of the computation; None for `keras.config.floatx()`.

    Call: `(y_true, y_pred, sample_weight=None)`; predictions (n, …, classes); targets are integers, (n, …) or
    (n, …, 1), or distributions, (n, …, classes). An integer that is neither a class nor `ignore` gives NaN.

    Example:
        >>> loss = BootstrappedCrossentropy("hard", ignore=-1)
        >>> round(float(loss(np.array([1]), np.array([[2.0, 0.5, -1.0]]))), 5)
        1.44131
        >>> round(float(loss(np.array([-1]), np.array([[2.0, 0.5, -1.0]]))), 5)  # a fifth of log 1/.7856
        0.04826

    Reference:
        Reed, Lee, Anguelov, Szegedy, Erhan, Rabinovich 2014, "Training Deep Neural Networks on Noisy Labels with
        Bootstrapping", section 3.
    """

    def __init__(
        self,
        kind: Literal["soft", "hard"] = "soft",
        beta: float | None = None,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
        ignore: int | float | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "bootstrapped_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if kind not in BETAS:
            raise ValueError(f"BootstrappedCrossentropy: expected kind to be 'soft' or 'hard', received {kind!r}.")
        beta = BETAS[kind] if beta is None else beta
        for argument, value in (("beta", beta), ("label_smoothing", label_smoothing)):
            if not is_number(value) or not 0 <= value <= 1:
                raise ValueError(f"BootstrappedCrossentropy: expected {argument} from 0 to 1, received {value!r}.")
        if ignore is not None and not is_number(ignore):
            raise ValueError(f"BootstrappedCrossentropy: expected ignore to be a number or None, received {ignore!r}.")
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise ValueError(f"BootstrappedCrossentropy: expected axis to be an integer, received {axis!r}.")
        self.kind = kind
        self.beta = beta
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.ignore = ignore
        self.axis = axis

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of each example (or pixel); see the class."""
        labels, wrong, missing = self._labels(y_true, y_pred)
        if self.from_logits:
            log = ops.log_softmax(y_pred, axis=self.axis)
            own = ops.exp(log)
        else:  # as Keras's crossentropy takes them
            own = y_pred / ops.sum(y_pred, axis=self.axis, keepdims=True)
            tiny = keras.config.epsilon()
            own = ops.clip(own, tiny, 1 - tiny)
            log = ops.log(own)
        if self.kind == "hard":
            own = _one_hot(ops.argmax(log, axis=self.axis), log, self.axis)
        losses = -ops.sum(labels * log, axis=self.axis)
        if missing is not None:
            losses = ops.where(missing, ops.zeros_like(losses), losses)
        losses = self.beta * losses
        if self.beta < 1:
            losses = losses - (1 - self.beta) * ops.sum(own * log, axis=self.axis)
        return losses if wrong is None else ops.where(wrong, float("nan"), losses)

    def _labels(self, y_true, y_pred):
        """Distributions over the classes; where an integer is no class; where a label is missing."""
        rank, wrong, missing = len(y_pred.shape), None, None
        if not -rank <= self.axis < rank:
            raise ValueError(
                f"BootstrappedCrossentropy: expected predictions that have axis {self.axis}, "
                f"received shape {tuple(y_pred.shape)}."
            )
        classes = y_pred.shape[self.axis]
        if classes is None or classes < 2:
            raise ValueError(
                "BootstrappedCrossentropy: expected predictions for 2 classes or more, received shape "
                f"{tuple(y_pred.shape)}. Two classes need two outputs."
            )
        if len(y_true.shape) == rank and y_true.shape[self.axis] == 1:
            y_true = ops.squeeze(y_true, axis=self.axis)
        if len(y_true.shape) == rank - 1:
            missing = None if self.ignore is None else ops.equal(y_true, self.ignore)
            labels = _one_hot(y_true, y_pred, self.axis)
            wrong = ops.equal(ops.sum(labels, axis=self.axis), 0)
            wrong = wrong if missing is None else ops.logical_and(wrong, ops.logical_not(missing))
        elif len(y_true.shape) == rank and y_true.shape[self.axis] in (classes, None):
            labels = y_true
            if self.ignore is not None:
                missing = ops.all(ops.equal(y_true, self.ignore), axis=self.axis)
        else:
            raise ValueError(
                f"BootstrappedCrossentropy: expected targets of the shape of the predictions {tuple(y_pred.shape)}, "
                f"or without their axis {self.axis} as integers, received shape {tuple(y_true.shape)}."
            )
        if self.label_smoothing:
            labels = labels * (1 - self.label_smoothing) + self.label_smoothing / classes
        return labels, wrong, missing

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("kind", "beta", "from_logits", "label_smoothing", "ignore", "axis", "dtype")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _one_hot(index, like, axis):
    """1 where a class of `like` is the index's, in its shape and dtype; no class for an index out of range."""
    classes, rank = like.shape[axis], len(like.shape)
    shape = [1] * rank
    shape[axis] = classes
    numbers = ops.reshape(ops.arange(classes, dtype="int32"), shape)
    index = ops.expand_dims(index, axis=axis)
    return ops.cast(ops.equal(index, ops.cast(numbers, index.dtype)), like.dtype)
