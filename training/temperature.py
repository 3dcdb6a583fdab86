"""One number that makes a classifier as sure as it is right (Guo et al. 2017)."""

import math

import numpy as np

BOUNDS = (0.05, 20.0)  # beyond, the probabilities are of no use anyway
TINY = 1e-30  # before the logarithm


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """The temperature of the smallest cross-entropy, on images that the model was not trained on.

    Above 1, the model is too sure of itself. Fit it on validation images: on test images it would flatter them.

    Args:
        labels: (n,), integers.
        probabilities: (n, classes).

    Returns:
        From 0.05 to 20; None where every answer is right or every one wrong, since no number is best then.

    Raises:
        ValueError: for arrays that do not belong together.

    Example:
        >>> labels = np.array([0, 0, 0, 1])
        >>> sure = np.array([[0.99, 0.01]] * 4)  # and right three times in four
        >>> heat = fit_temperature(labels, sure)
        >>> softened(sure, heat)[0].round(2).tolist()
        [0.75, 0.25]

    Reference:
        Guo, Pleiss, Sun, Weinberger 2017, "On Calibration of Modern Neural Networks", section 4.2, arXiv 1706.04599.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            "fit_temperature: expected labels (n,) and probabilities (n, classes), received shapes "
            f"{labels.shape} and {probabilities.shape}."
        )
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]  # scikit-learn's own foundation

    right = probabilities.argmax(axis=1) == labels
    if right.all() or not right.any() or not np.isfinite(probabilities).all():
        return None
    logits = np.log(np.maximum(probabilities.astype("float64"), TINY))
    chosen = logits[np.arange(len(labels)), labels]

    def loss(logarithm: float) -> float:
        scaled = logits / math.exp(logarithm)
        highest = scaled.max(axis=1)
        sums = np.log(np.exp(scaled - highest[:, None]).sum(axis=1)) + highest
        return float((sums - chosen / math.exp(logarithm)).mean())

    low, high = map(math.log, BOUNDS)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x)


def softened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities as they are at a temperature; the most probable class stays the most probable.

    Args:
        probabilities: (n, classes).
        temperature: what logits are divided by.

    Example:
        >>> softened(np.array([[0.8, 0.2]]), 1.0).round(3).tolist()
        [[0.8, 0.2]]
    """
    logits = np.log(np.maximum(np.asarray(probabilities, "float64"), TINY)) / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)
