"""Rows as text, in columns."""

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows below their heads; numbers to the right, with commas in thousands, floats with three digits.

    Args:
        heads: of the columns.
        rows: as many values in each.
    """
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    right = [all(isinstance(row[index], int | float) for row in rows) for index in range(len(heads))]
    lines = []
    for line in [list(heads), *cells]:
        padded = zip(line, widths, right, strict=True)
        lines.append("  ".join(text.rjust(width) if flip else text.ljust(width) for text, width, flip in padded))
    return "\n".join(line.rstrip() for line in lines)


def _text(value):
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
