"""The charts of `report.html`: SVG written by hand, so that they follow the page's theme and its width."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from .format import integer, number, percent, plural, text
from .lines import Line

WIDTH = 380  # of a chart in its own units; on a phone one unit is a little less than a pixel
LEFT, RIGHT, BOTTOM = 52, 92, 34  # margins: tick labels, direct labels, epochs; of fonts as wide as DejaVu Sans
Show = Callable[[float], str]
DOTS = 40  # epochs up to which every measurement is marked


@dataclass(frozen=True)
class Scale:
    """From a value to its place; `ticks` lie inside."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Place of a value."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def linear_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `count` steps apart."""
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if span / count <= power * m * (1 + 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12 - math.floor(math.log10(step))) for i in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten around the range, at most six of them."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    step = math.ceil((last - first) / 5) or 1
    return [10.0**i for i in range(first, last + step, step)]


def wants_log(values: list[float]) -> bool:
    """Whether most of a curve would lie flat on the axis of a linear scale."""
    return min(values) > 0 and max(values) > 100 * min(values) and float(np.median(values)) < max(values) / 10


def epoch_ticks(epochs: int) -> list[int]:
    """Round epochs from 0 to at most `epochs`."""
    return [int(t) for t in linear_ticks(0, epochs) if t <= epochs and t == int(t)]


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Moves label positions apart until they are `gap` from each other, inside `low` to `high`."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for earlier, later in zip(order, order[1:], strict=False):
        if (missing := gap - (placed[later] - placed[earlier])) > 0:
            placed[earlier] -= missing / 2
            placed[later] += missing / 2
    shift = max(0.0, low - min(placed)) - max(0.0, max(placed) - high)
    return [place + shift for place in placed]


def curves(
    title: str,
    lines: list[Line],
    *,
    share: bool = False,
    best: tuple[Line, str] | None = None,
    resumed: Iterable[float] = (),
    height: int = 210,
) -> str:
    """A chart over the epochs; `share`: in percent, `best`: the line to mark and "lowest" or "highest"."""
    lines = [line for line in lines if line.points()]
    show = percent if share else number
    epochs = max(len(line.values) for line in lines)
    resumed = list(resumed)
    top = 10 + 16 * bool(best) + 16 * bool(resumed)
    values = [y for line in lines for _, y in [*line.points(), *(line.facts() if line.label else ())]]
    values += [y for line in lines for _, *span in line.spans() for y in span]
    low, high = min(values), max(values)
    if share:
        low = min(low, max(0.0, high - 0.02))  # a flat line at 100 % needs ticks below it
    log = not share and wants_log(values)
    ticks = log_ticks(low, high) if log else linear_ticks(low, high)
    if share and high <= 1:
        ticks = [tick for tick in ticks if tick <= 1]
    labels = [f"{100 * tick:g} %" if share else number(tick) for tick in ticks]
    left = max(LEFT, 8 + 8.8 * max(map(len, labels)))  # a digit is 8.8 wide where the letters are largest
    across = Scale(0, epochs, left, WIDTH - RIGHT)
    up = Scale(ticks[0], max(ticks[-1], high), height - BOTTOM, top, log)
    below = [(float(epoch), integer(epoch)) for epoch in epoch_ticks(epochs)]
    parts = [frame(list(zip(ticks, labels, strict=True)), below, "epochs", across, up)]
    parts += _resumed(resumed, across, height, row=10 + 16 * bool(best))
    parts += [_line(line, across, up, show) for line in lines]
    if best:
        parts.append(_best(*best, across, up, show, height, row=10))
    parts += _end_labels(lines, across, up, show)
    summary = "; ".join(f"{line.label} {_end(line, show)}" for line in lines if line.label)
    caption = title + (" <span>(logarithmic scale)</span>" if log else "")
    return figure(caption, f"{title} over {plural(epochs, 'epoch')}: {summary}.", WIDTH, height, parts)


def figure(caption: str, description: str, width: float, height: float, parts: list[str], extra: str = "") -> str:
    """A chart with its caption and the sentence that stands for it where it cannot be seen."""
    return (
        f'<figure class="chart {extra}"><figcaption>{caption}</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(description)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def frame(sides: list[tuple[float, str]], below: list[tuple[float, str]], title: str, across: Scale, up: Scale) -> str:
    """Grid, axis and labels; `sides` and `below` are (value, label) of the ticks, `title` stands under the axis."""
    base, parts = up.start, []
    for tick, label in sides:
        parts.append(
            f'<path class="grid" d="M{across.start:.1f} {up(tick):.1f}H{across.end}"/>'
            f'<text x="{across.start - 6:.1f}" y="{up(tick) + 4:.1f}" text-anchor="end">{label}</text>'
        )
    for tick, label in below:
        parts.append(f'<text x="{across(tick):.1f}" y="{base + 15}" text-anchor="middle">{label}</text>')
    middle = (across.start + across.end) / 2
    parts.append(f'<path class="axis" d="M{across.start:.1f} {base}H{across.end}"/>')
    parts.append(f'<text x="{middle:.1f}" y="{base + 30}" text-anchor="middle">{title}</text>')
    return "".join(parts)


def _line(line: Line, across: Scale, up: Scale, show: Show) -> str:
    steps, before = [], None
    for x, y in line.points():
        move = "L" if before == x - 1 else "M"  # a gap where there is no number
        steps.append(f"{move}{across(x):.1f} {up(y):.1f}")
        before = x
    parts = []
    if spans := line.spans():
        there = [f"{across(x):.1f} {up(high):.1f}" for x, _, high in spans]
        back = [f"{across(x):.1f} {up(low):.1f}" for x, low, _ in reversed(spans)]
        parts.append(f'<path class="band {line.kind}" d="M{"L".join([*there, *back])}z"/>')
    parts.append(f'<path class="{line.kind}{"" if line.label else " thin"}" d="{"".join(steps)}"/>')
    if line.label and line.measured is None and len(line.values) <= DOTS:
        parts += [
            f'<circle class="{line.kind}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="2">'
            f"<title>{line.label}, epoch {x}: {show(y)}</title></circle>"
            for x, y in line.points()
        ]
    return "".join(parts)


def _end_labels(lines: list[Line], across: Scale, up: Scale, show: Show) -> list[str]:
    lines = [line for line in lines if line.label]
    ends = [line.points()[-1] for line in lines]
    places = spread([up(y) for _, y in ends], 29, up.end + 4, up.start - 14)
    x = across.end + 9
    return [
        f'<text class="{line.kind} strong" x="{x}" y="{place + 1:.1f}">{line.label}</text>'
        f'<text class="{line.kind}" x="{x}" y="{place + 14:.1f}">{_end(line, show)}</text>'
        for line, place in zip(lines, places, strict=True)
    ]


def _end(line: Line, show: Show) -> str:
    epoch, value = line.facts()[-1]
    return show(value) if epoch == len(line.values) else f"to epoch {epoch}"


def _best(line: Line, word: str, across: Scale, up: Scale, show: Show, height: int, row: float) -> str:
    pick = min if word == "lowest" else max
    x, y = pick(line.facts(), key=lambda point: point[1])
    left, place = across(x), up(y)
    anchor = "start" if left < across.start + 80 else "end" if left > across.end - 80 else "middle"
    said = f"{word} {line.label}: {show(y)}, epoch {x}"
    room = 8.8 * len(said)  # all of it inside the picture
    at = {"start": min(left, max(0.0, WIDTH - room)), "end": max(left, min(room, WIDTH))}.get(anchor, left)
    return (
        f'<path class="drop" d="M{left:.1f} {row + 4}V{height - BOTTOM}"/>'
        f'<circle class="ring" cx="{left:.1f}" cy="{place:.1f}" r="5"/>'
        f'<text x="{at:.1f}" y="{row}" text-anchor="{anchor}">{word} {line.label}: '
        f'<tspan class="strong">{show(y)}</tspan>, epoch {x}</text>'
    )


def _resumed(places: list[float], across: Scale, height: int, row: float) -> list[str]:
    if not places:
        return []
    first = across(min(places))
    anchor = "start" if first < across.end - 60 else "end"
    label = "resumed" if len(places) == 1 else f"resumed {len(places)} times"
    marks = [
        f'<path class="axis" d="M{across(place):.1f} {row - 9}V{height - BOTTOM}">'
        f"<title>resumed after {place:.2f} epochs</title></path>"
        for place in places
    ]
    shift = 4 if anchor == "start" else -4
    return [*marks, f'<text x="{first + shift:.1f}" y="{row}" text-anchor="{anchor}">↻ {label}</text>']
