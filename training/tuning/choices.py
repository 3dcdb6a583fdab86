"""What is known of a policy from trying it."""

from dataclasses import dataclass, field

import numpy as np

from .linear import Linear


@dataclass
class Choice:
    """A policy, and what is known from choosing it.

    Attributes:
        policy: linear, svm, top, deep or scratch.
        why: in a sentence.
        measured: what was tried to accuracy on the held-out images.
        linear: the classifier of frozen features, where it is solved already.
        level: the layer it is on; "" for the last.
        seconds_per_view: how long training takes an image; 0 where unknown.
        rate: of the options' learning rate, a factor.
    """

    policy: str
    why: str
    measured: dict[str, float] = field(default_factory=dict)
    linear: Linear | None = None
    level: str = ""
    seconds_per_view: float = 0.0
    rate: float = 1.0


@dataclass(frozen=True)
class Trial:
    """A policy, tried on the held-out images.

    Attributes:
        policy: one of `ORDER`.
        score: share that is right, or the mean of the classes' shares.
        right: of each image, whether it was recognized.
        rate: of the options' learning rate, a factor.
        seconds_per_view: how long training took an image; 0 where unknown.
    """

    policy: str
    score: float
    right: np.ndarray
    rate: float = 1.0
    seconds_per_view: float = 0.0

    def __str__(self) -> str:
        """For the plan."""
        return self.policy if self.rate == 1 else f"{self.policy} at {self.rate:g} of the rate"
