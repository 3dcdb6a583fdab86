"""A training in numbers, as `diagnose` reads it, and what can be said of a curve's course."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

EPOCHS = 4  # fewer have no course
GUESSING = 0.98  # of the loss of guessing: above, nothing has been learned
GOOD = 0.98  # training accuracy beyond which there is no more to fit
FLAT = 0.06  # relative fall of the loss in the last third of the epochs


@dataclass
class Curves:
    """A training in numbers; what there is not is empty, or 0."""

    loss: np.ndarray
    val_loss: np.ndarray
    accuracy: np.ndarray
    val_accuracy: np.ndarray
    guessing: float  # the loss of guessing
    batches: np.ndarray  # losses of single batches
    steps: list[int]  # so far, after each epoch
    changes: np.ndarray  # (epochs, layers)
    gradients: np.ndarray  # (epochs, layers)
    dead: Mapping[str, list[float]]
    saturated: Mapping[str, list[float]]

    @property
    def learned(self) -> bool:
        """Whether something has been learned at the end."""
        return bool(np.isfinite(self.loss[-1])) and (not self.guessing or self.loss[-1] < GUESSING * self.guessing)

    @property
    def fits(self) -> bool:
        """Whether the training images are all but learned by heart."""
        return bool(len(self.accuracy) and self.accuracy[-1] >= GOOD)

    @property
    def long(self) -> bool:
        """Whether the curve has a course."""
        return len(self.loss) >= EPOCHS and bool(np.isfinite(self.loss).all())


def thirds(curve: np.ndarray) -> tuple[float, float]:
    """How much a curve falls in its first and in its last third, an epoch."""
    third = max(1, (len(curve) - 1) // 3)
    return float(curve[0] - curve[third]) / third, float(curve[-1 - third] - curve[-1]) / third


def flat(curve: np.ndarray) -> bool:
    """Whether a curve hardly falls in its last third: from the middle of the epochs around its start to the middle of
    its last ones, as a single epoch of a high rate is noise."""
    third = max(1, (len(curve) - 1) // 3)
    beside = third // 4
    start = len(curve) - 1 - third
    before = float(np.median(curve[start - beside : start + beside + 1]))
    return bool(before - np.median(curve[-1 - beside :]) < FLAT * abs(before))
