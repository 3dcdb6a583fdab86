"""Which labels are probably wrong, by what a classifier says of images that it has not learned."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Judged:
    """What `judge` found.

    Attributes:
        suspect: bool (n,), whether the label is probably wrong.
        guess: int (n,), the class that the image more probably is of; for what is not suspect its most probable class.
        margin: float (n,), probability of the label less that of the most probable other class: -1 is the worst.
        joint: float (classes, classes), the estimated number of images by label, down, and true class, across.
    """

    suspect: np.ndarray
    guess: np.ndarray
    margin: np.ndarray
    joint: np.ndarray

    @property
    def share(self) -> float:
        """The estimated share of wrong labels."""
        return float(1 - np.trace(self.joint) / self.joint.sum())


def judge(labels: np.ndarray, probabilities: np.ndarray) -> Judged:
    """Confident learning: an image is counted as one of the class of which it is surer than that class's images are.

    Classes that a classifier is less sure of have a lower threshold, so that neither rare nor difficult ones are
    accused more than others. An image is suspect if it is counted for another class than its label, and if its label is
    not its most probable class.

    Args:
        labels: int (n,), from 0; each class has some.
        probabilities: float (n, classes), of a classifier that was fitted without the image: by cross-validation.

    Returns:
        A `Judged`.

    Example:
        >>> found = judge(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]]))
        >>> found.suspect.tolist(), found.guess.tolist(), found.share
        ([False, True, False, False], [0, 1, 1, 1], 0.25)

    Reference:
        Northcutt, Jiang, Chuang 2021, arXiv 1911.00068, equations 1 and 2 (thresholds, confident joint) and 3
        (its calibration to the number of each label).
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, "float64")
    count, classes = probabilities.shape
    rows = np.arange(count)
    thresholds = np.array([probabilities[labels == label, label].mean() for label in range(classes)])
    sure = np.where(probabilities >= thresholds, probabilities, -1.0)
    counted, likely = sure.argmax(axis=1), probabilities.argmax(axis=1)
    counted = np.where(sure[rows, labels] == sure.max(axis=1), labels, counted)  # who cannot decide accuses nobody
    any_sure = sure.max(axis=1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[any_sure], counted[any_sure]), 1)
    sums = joint.sum(axis=1, keepdims=True)
    joint = np.where(sums > 0, joint / np.maximum(sums, 1), np.eye(classes))  # of a class that is never sure
    joint *= np.bincount(labels, minlength=classes)[:, None]
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    margin = probabilities[rows, labels] - others.max(axis=1)
    suspect = any_sure & (counted != labels) & (margin < 0)
    return Judged(suspect, np.where(suspect, counted, likely), margin, joint)
