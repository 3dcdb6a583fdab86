"""The curves of `report.html` before they are drawn: values by epoch, smoothed ones, bands."""

from collections.abc import Sequence
from dataclasses import dataclass

from .format import is_number


@dataclass(frozen=True)
class Line:
    """A curve: `kind` is train, val or only; one value an epoch, None or NaN where there is none.

    A curve without a label is one of several behind their mean, or what was measured behind what is smoothed: thin,
    and without dots. `measured` are the values that are written, where others are drawn; `band` is (low, high), a
    value an epoch each, of the area behind the curve.
    """

    kind: str
    label: str
    values: Sequence[float | None]
    measured: Sequence[float | None] | None = None
    band: tuple[Sequence[float | None], Sequence[float | None]] | None = None

    def points(self) -> list[tuple[int, float]]:
        """(number of finished epochs, value) of what can be drawn."""
        return numbered(self.values)

    def facts(self) -> list[tuple[int, float]]:
        """The same of what was measured."""
        return self.points() if self.measured is None else numbered(self.measured)

    def spans(self) -> list[tuple[int, float, float]]:
        """(number of finished epochs, low, high) of the band."""
        low, high = (dict(numbered(side)) for side in self.band or ((), ()))
        return [(x, low[x], high[x]) for x in low if x in high]


def numbered(values: Sequence[float | None]) -> list[tuple[int, float]]:
    """(number of finished epochs, value) of those that are numbers."""
    return [(x, float(y)) for x, y in enumerate(values, 1) if y is not None and is_number(y)]


def smooth(values: Sequence[float | None], reach: int) -> list[float | None]:
    """The mean of each value and its neighbours up to `reach` away on both sides, fewer near the ends.

    Where there is no number none is made up, and as many neighbours count on one side as on the other: a straight line
    stays what it is.
    """
    found = dict(numbered(values))
    result: list[float | None] = []
    for x in range(1, len(values) + 1):
        near = min(reach, x - 1, len(values) - x)
        window = [found[k] for k in range(x - near, x + near + 1) if k in found]
        result.append(sum(window) / len(window) if x in found else None)
    return result
