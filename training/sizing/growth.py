"""What `grow` tried, and whether a larger model was better by more than chance."""

from dataclasses import dataclass, field

import keras
import numpy as np


@dataclass
class Growth:
    """One size that `grow` tried.

    Attributes:
        name: "linear", depth and width, or "step 3".
        parameters: of the model.
        multiply_adds: of one image.
        accuracy: share of the validation images that it got right.
        seconds: that training took.
        chance: of gaining as much over the model kept until then where neither is better; None for the first.
        kept: whether it took that model's place.
        right: of each validation image, whether it was recognized.
        made_of: a number for its layers, by which a resumed search knows a model of one's own again.
    """

    name: str
    parameters: int
    multiply_adds: int
    accuracy: float
    seconds: float
    chance: float | None = None
    kept: bool = True
    right: np.ndarray = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    made_of: int = field(default=0, repr=False)


@dataclass(frozen=True)
class Grown:
    """The smallest model that no larger one beat. `print` shows the table of what was tried.

    Attributes:
        model: trained, and compiled.
        chosen: what is known of it.
        steps: all that were tried, in order.
        level: the chance below which a gain counts.
    """

    model: keras.Model
    chosen: Growth
    steps: list[Growth]
    level: float

    def __str__(self) -> str:
        """The table."""
        wide = max(len(step.name) for step in self.steps)
        lines = [f"{'size':<{wide}}  parameters  multiply-adds  validation  chance of that gain"]
        for step in self.steps:
            chance = "" if step.chance is None else f"{step.chance:.3f}" if step.chance >= 0.001 else "< 0.001"
            lines.append(
                f"{step.name:<{wide}}{step.parameters:12,}{step.multiply_adds:15,}{100 * step.accuracy:10.2f} %"
                f"{chance:>21}{'  kept' if step.kept else ''}"
            )
        count = len(self.chosen.right)
        return "\n".join(
            [*lines, f"Chosen: {self.chosen.name}, on {count} validation images, at level {self.level:g}."]
        )


def chance(larger: np.ndarray, smaller: np.ndarray) -> float:
    """Exact one-sided McNemar test: the chance of winning as many images where neither model is better.

    Args:
        larger, smaller: of each image, whether a model got it right.

    Example:
        >>> chance(np.array([1, 1, 1, 1, 1, 0]), np.array([0, 0, 0, 0, 0, 0]))
        0.03125
    """
    from scipy import stats  # type: ignore[import-untyped]  # scikit-learn's own foundation

    larger, smaller = np.asarray(larger, bool), np.asarray(smaller, bool)
    won, lost = int((larger & ~smaller).sum()), int((smaller & ~larger).sum())
    return float(stats.binom.sf(won - 1, won + lost, 0.5))
