"""What `report.html` computes from labels, probabilities and counts: intervals, scores, calibration, differences."""

import math
from collections.abc import Sequence

import numpy as np

Z = 1.959963984540054  # of a normal distribution, for 95 %


def wilson(accuracy: float, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion, right also near 100 % where the normal one is not."""
    centre = (accuracy + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(accuracy * (1 - accuracy) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def newcombe(one: float, n: int, other: float, m: int) -> tuple[float, float]:
    """95 % interval of the difference of two proportions of different images (Newcombe 1998, method 10)."""
    (low, high), (lower, upper) = wilson(one, n), wilson(other, m)
    down = math.hypot(one - low, upper - other)
    up = math.hypot(high - one, other - lower)
    return one - other - down, one - other + up


def paired(first: int, second: int, n: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same n images (Bonett and Price 2012).

    Args:
        first: images that only the first model has right.
        second: images that only the second has right.
        n: of all.
    """
    one, other = (first + 1) / (n + 2), (second + 1) / (n + 2)
    half = Z * math.sqrt((one + other - (one - other) ** 2) / (n + 2))
    return max(-1.0, one - other - half), min(1.0, one - other + half)


def mcnemar(first: int, second: int) -> float:
    """The exact two-sided p-value of McNemar's test: how often chance divides the disagreements so unevenly."""
    n, fewer = first + second, min(first, second)
    if not n:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(fewer + 1)]
    return min(1.0, 2 * sum(math.exp(each - n * math.log(2)) for each in logs))


def welch(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the difference of two means, of seeds whose deviations may differ (Welch 1947)."""
    from scipy import stats  # type: ignore[import-untyped]  # scikit-learn's own foundation

    interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def per_class(confusion: np.ndarray) -> np.ndarray:
    """Columns n, precision, recall, F1; NaN where nothing was predicted, or nothing was there."""
    hits, there, predicted = np.diag(confusion).astype(float), confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.stack([there, hits / predicted, hits / there, 2 * hits / (there + predicted)], axis=1)


def confused_pairs(confusion: np.ndarray) -> list[tuple[int, int, int]]:
    """(actual, predicted, count), the most frequent mistake first."""
    mistakes = confusion - np.diag(np.diag(confusion))
    return sorted(
        ((int(a), int(p), int(mistakes[a, p])) for a, p in zip(*np.nonzero(mistakes), strict=True)),
        key=lambda pair: (-pair[2], pair[0], pair[1]),
    )


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Of each row, in nats: 0 for a sure answer, the logarithm of the number of classes for none."""
    shares = np.asarray(probabilities, "float64")
    return -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)


def calibration(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 10
) -> tuple[list[tuple[float, float, int]], float]:
    """(mean confidence, accuracy, n) of each occupied bin, and the expected calibration error."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    points = [
        (float(confidence[place == b].mean()), float(right[place == b].mean()), int((place == b).sum()))
        for b in np.unique(place)
    ]
    return points, sum(n * abs(sure - share) for sure, share, n in points) / len(right)
