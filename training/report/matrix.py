"""The confusion matrix of `report.html`: a table with counts where classes are few, else a map of shades."""

import math

import numpy as np

from .charts import figure
from .format import integer, name, percent, scroll, text
from .style import LEVELS


def level(count: int, total: int, *, right: bool) -> int:
    """The shade of a cell: its share of the row, for mistakes the root of it, so that single ones show."""
    if not count or not total:
        return 0
    return max(1, round(LEVELS * (count / total if right else math.sqrt(count / total))))


def heat_map(confusion: np.ndarray) -> str:
    """The confusion matrix of many classes, shaded as the small one is, without its numbers."""
    k = len(confusion)
    shades: dict[str, list[str]] = {}
    for a, p in zip(*np.nonzero(confusion), strict=True):
        kind = "right" if a == p else "wrong"
        shade = level(int(confusion[a, p]), int(confusion[a].sum()), right=bool(a == p))
        shades.setdefault(f"{kind}{shade}", []).append(f"M{p} {a}h1v1h-1z")
    parts = [f'<path class="frame" d="M0 0h{k}v{k}h-{k}z"/>']
    parts += [f'<path class="{shade}" d="{"".join(cells)}"/>' for shade, cells in sorted(shades.items())]
    right = float(np.trace(confusion) / confusion.sum())
    described = f"Confusion matrix of {integer(k)} classes: {percent(right)} of the images on the diagonal."
    caption = "Actual classes from top to bottom, predicted from left to right"
    return figure(caption, described, k, k, parts, "heat")


def full(counts: np.ndarray, classes: list[str]) -> str:
    """The confusion matrix as a table with its counts."""
    upright = " upright" if max(map(len, classes)) > 4 else ""
    heads = "".join(f'<th scope="col" class="{upright}" title="{text(c)}">{name(c)}</th>' for c in classes)
    rows = []
    for actual, line in enumerate(counts):
        cells = "".join(_cell(int(count), int(line.sum()), classes, actual, p) for p, count in enumerate(line))
        rows.append(
            f'<tr><th scope="row" title="{text(classes[actual])}">{name(classes[actual])}</th>{cells}'
            f'<td class="total">{integer(line.sum())}</td></tr>'
        )
    caption = (
        "Rows: actual class. Columns: predicted class. Shade: share of the row, right answers blue, mistakes "
        "orange (on a root scale, so that single ones are seen)."
    )
    head = f'<tr><th scope="col">actual</th>{heads}<th scope="col" class="total">n</th></tr>'
    grid = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    scrolled = scroll("Confusion matrix", grid)
    return f'<figure class="matrix"><figcaption>{caption}</figcaption>{scrolled}</figure>'


def _cell(count: int, total: int, classes: list[str], actual: int, predicted: int) -> str:
    right = actual == predicted
    shade = level(count, total, right=right)
    if not count and not right:
        return "<td></td>"
    title = f"{classes[actual]}, taken for {classes[predicted]}: {count} of {total}"
    return f'<td class="{"right" if right else "wrong"}{shade}" title="{text(title)}">{integer(count)}</td>'
