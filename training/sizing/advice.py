"""What `advise` says: models, best first, with their costs and reasons, and how they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .known import Measured


@dataclass(frozen=True)
class Advised:
    """One model that was advised.

    Attributes:
        model: its name in the zoo.
        parameters: of the model for this image size and number of classes, counted.
        multiply_adds: of one image, counted.
        memory: bytes that training a batch takes; see `fit_width`.
        step_seconds: of a training step, measured on this machine; None where that was not asked for.
        measured: the accuracy on comparable data; None where none was measured.
        published: what others have published of it, mostly on CIFAR-10 or ImageNet; None where we know of nothing.
        weights: names of weights to start from, for `weights=` and `fine-tune`.
        recipe: that made the network which was measured, with its options; "" for the zoo's.
        command: that trains it.
        reason: why it stands here, in a sentence.
    """

    model: str
    parameters: int
    multiply_adds: int
    memory: int
    step_seconds: float | None
    measured: Measured | None
    published: str | None
    weights: tuple[str, ...]
    recipe: str
    command: str
    reason: str


@dataclass(frozen=True)
class Advice(Sequence):
    """What `advise` returns: a sequence of `Advised`, best first; `print` shows it as a table.

    Attributes:
        rows: the models.
        start: whether to start from pretrained weights, and what that rests on.
        notes: what else to know, in sentences.
    """

    rows: list[Advised]
    start: str
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        return self.rows[place]

    def __str__(self) -> str:
        """The table, and a reason for each."""
        names = [row.model + (" *" if row.recipe else "") for row in self.rows]
        wide = max(map(len, names))
        lines = [f"    {'model':<{wide}}  parameters  multiply-adds  training memory  step       accuracy"]
        for number, (name, row) in enumerate(zip(names, self.rows, strict=True), 1):
            step = "not asked" if row.step_seconds is None else f"{1000 * row.step_seconds:,.0f} ms"
            share = f"{100 * row.measured.accuracy:.1f} %" if row.measured else "not measured"
            lines.append(
                f"{number:>2}  {name:<{wide}}{row.parameters:>12,}{row.multiply_adds:>15,}{row.memory / 1e6:>14,.0f} MB"
                f"  {step:<9}  {share}"
            )
        if any(row.recipe for row in self.rows):
            lines.append("    * as the recipe builds it, with its options")
        lines += [
            "",
            *(f"{n:>2}  {row.reason}\n    {row.command}" for n, row in enumerate(self.rows, 1)),
            "",
            self.start,
        ]
        return "\n".join([*lines, *self.notes])
