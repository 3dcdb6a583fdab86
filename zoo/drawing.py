"""Draws a model stage by stage as an SVG picture: shapes, blocks, branches, and where its cost lies."""

import os
import pathlib
from html import escape
from typing import Any

import keras

from .costs import cost
from .graphs import nodes
from .stages import Group, Stage, stages
from .unit_graphs import Place, places

WIDTH, LEFT, MIDDLE, RIGHT = 940, 16, 160, 728  # of the page; where the three columns begin
HIGH, ROW, GAP = 17, 26, 12  # of a layer's box; from one row to the next; between lanes and between blocks
LETTER = 0.6  # width of a letter in sizes of the font, somewhat more than that of a usual one
STYLE = """
text{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1c2430}
.page{fill:#fff}.faint{fill:#5c6675}.band{fill:#f4f6f9}.block{fill:#fff;stroke:#c3cad4}.line{fill:none;stroke:#7d8896}
.track{fill:#e3e7ed}.conv{fill:#cfe2fa;stroke:#5b8fd0}.pool{fill:#d5efd9;stroke:#5aa868}.join{fill:#fbe6bd;stroke:#cf9a35}
.dense{fill:#e6d9f7;stroke:#9370c9}.other{fill:#eceff3;stroke:#a3adba}.side{fill:#fff;stroke:#9370c9}
.input{fill:#7d8896}.adds{fill:#3f7fd0}.weights{fill:#d0803f}
@media (prefers-color-scheme:dark){text{fill:#e4e8ee}.page{fill:#12161c}.faint{fill:#9aa5b4}.band{fill:#1a2029}
.block{fill:#12161c;stroke:#3b4553}.line{stroke:#8a95a5}.track{fill:#2b3340}.conv{fill:#1d3a5f}.pool{fill:#1d4527}
.join{fill:#553f12}.dense{fill:#3c2a5c}.other{fill:#2a323d}.side{fill:#12161c}.input{fill:#8a95a5}}
""".replace("\n", "")
LEGEND = {"conv": "convolution", "pool": "pooling", "join": "join", "dense": "dense", "other": "other"}


class Drawing(str):
    """An SVG picture as text; a notebook shows it."""

    def _repr_svg_(self) -> str:
        return str(self)


def draw(model: keras.Model, path: str | os.PathLike[str] | None = None) -> str:
    """Draws a model stage by stage: an SVG picture with blocks and their branches, shapes, and the share of the cost.

    Blocks that repeat each other are drawn once, with their number. Normalization, activation and dropout are left out.
    Layers are grouped by hierarchical names, as those of the zoo, `stage3_block2_conv1`; those of a model whose names
    Keras made up by the size of their maps.

    Args:
        model: any functional `keras.Model` of 2D layers with a fixed input size.
        path: None, or where to write it, as "resnet.svg".

    Returns:
        The picture, a string that notebooks show. It is self-contained, and readable on light and dark pages.

    Raises:
        ValueError: if height or width of the input is None.

    Example:
        >>> from convcraft import zoo
        >>> picture = zoo.draw(zoo.create("squeezenet_cifar"))
        >>> "fire6-9" in picture, picture.startswith("<svg")
        (True, True)
    """
    total = cost(model)
    parts, calls, owners = stages(model), {}, {}
    for node in nodes(model):
        calls.update({id(tensor): node for tensor in node.output_tensors})
    for part in parts:
        for group in part.groups:
            for unit in group.units:
                owners.update({id(layer): unit.name for layer in unit.layers})
    shape = "x".join(map(str, model.inputs[0].shape[1:]))
    said = f"{total.parameters:,} parameters, {total.multiply_adds:,} multiply-adds for an image of {shape}"
    svg = [_text(LEFT, 30, model.name, 18, bold=True), _text(LEFT, 50, said, 12, "faint")]
    svg += [_text(RIGHT, 50, "multiply-adds", 11, "faint"), _text(RIGHT + 102, 50, "parameters", 11, "faint")]
    y, before = 62, ""
    for part in parts:
        if part.groups[0].units[0].name == "images":
            before = "images"
            continue
        drawn, height = _stage(part, y, calls, owners, before, total)
        svg += drawn
        y += height + 6
        before = part.groups[-1].units[-1].name
    svg += _legend(y + 18)
    height = y + 34
    picture = Drawing(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="title description"><title id="title">{escape(model.name)}</title>'
        f'<desc id="description">{escape(said)}: {escape(", ".join(part.name for part in parts))}.</desc>'
        f'<style>{STYLE}</style><rect class="page" width="{WIDTH}" height="{height}"/>{"".join(svg)}</svg>\n'
    )
    if path is not None:
        pathlib.Path(path).write_text(picture, encoding="utf-8")
    return picture


def _stage(part: Stage, y: int, calls: Any, owners: Any, before: str, total: Any) -> tuple[list[str], int]:
    """A band: names to the left, blocks in the middle, bars to the right; and its height."""
    blocks, x, top, deepest = [], MIDDLE, y + 8, 0
    for group in part.groups:
        title = "" if len(part.groups) == 1 and len(group.units) == 1 else _title(group)
        drawn, width, height = _block(group, title, calls, owners, before)
        if x > MIDDLE and x + width > RIGHT - GAP:
            x, top, deepest = MIDDLE, top + deepest + 8, 0
        scale = min(1.0, (RIGHT - GAP - MIDDLE) / width)
        shrunk = f" scale({scale:.3f})" if scale < 1 else ""
        blocks.append(f'<g transform="translate({x} {top}){shrunk}">{"".join(drawn)}</g>')
        x, deepest = x + round(width * scale) + GAP, max(deepest, round(height * scale))
        before = group.units[-1].name
    height = max(top + deepest + 8 - y, 48)
    shape = "x".join(map(str, part.output_shape))
    units = sum(len(group.units) for group in part.groups)
    exact = f"{part.name}: {part.parameters:,} parameters, {part.multiply_adds:,} multiply-adds, out {shape}"
    svg = [f"<g><title>{escape(exact)}</title>"]
    svg.append(f'<rect class="band" x="8" y="{y}" width="{WIDTH - 16}" height="{height}" rx="6"/>')
    svg += [_text(LEFT, y + 20, part.name, 13, bold=True), _text(LEFT, y + 37, shape, 11, "faint")]
    if units > 1 and height >= 56:
        svg.append(_text(LEFT, y + 53, f"{units} blocks", 11, "faint"))
    for index, (kind, own, all_) in enumerate(
        (("adds", part.multiply_adds, total.multiply_adds), ("weights", part.parameters, total.parameters))
    ):
        left, share = RIGHT + 102 * index, own / all_ if all_ else 0.0
        svg.append(f'<rect class="track" x="{left}" y="{y + 12}" width="92" height="8" rx="2"/>')
        if share > 0:
            long = max(1, 92 * share)
            svg.append(f'<rect class="{kind}" x="{left}" y="{y + 12}" width="{long:.1f}" height="8" rx="2"/>')
        svg.append(_text(left, y + 35, f"{_short(own)}, {100 * share:.1f} %" if own else "0", 11, "faint"))
    return [*svg, *blocks, "</g>"], height


def _title(group: Group) -> str:
    name = group.name.split("_", 1)[-1] if "_block" in group.name else group.name
    return name if len(group.units) == 1 else f"{name}, {len(group.units)} times"


def _block(group: Group, title: str, calls: Any, owners: Any, before: str) -> tuple[list[str], int, int]:
    """One unit's layers in a frame: the SVG, its width and its height."""
    placed = places(group.units[0], calls, owners, before)
    lanes = 1 + max(place.lanes[1] for place in placed)
    widths = [20.0] * lanes
    for place in placed:
        span = range(place.lanes[0], place.lanes[1] + 1)
        missing = _wide(place.text, 10) + 10 - sum(widths[lane] for lane in span) - GAP * (len(span) - 1)
        for lane in span:
            widths[lane] += max(0.0, missing) / len(span)
    lefts = [10 + sum(widths[:lane]) + GAP * lane for lane in range(lanes)]
    width = max(round(lefts[-1] + widths[-1] + 10), round(_wide(title, 11) + 16))
    labelled = any(place.text for place in placed if place.kind == "input")
    top = (20 if title else 6) + (12 if labelled else 0)
    height = top + 10 + ROW * max(place.row for place in placed)

    def box(place: Place) -> tuple[float, float, float, float]:
        left, right = lefts[place.lanes[0]], lefts[place.lanes[1]] + widths[place.lanes[1]]
        up = top + 10 + ROW * (place.row - 1) if place.row else top
        return left, right, up, up + (HIGH if place.row else 3)

    svg = [f'<rect class="block" width="{width}" height="{height}" rx="5"/>']
    if title:
        svg.append(_text(8, 15, title, 11, "faint"))
    for place in placed:
        for source in place.sources:
            svg.append(_line(box(source), box(place), _middle(place, source, lefts, widths)))
    for place in placed:
        left, right, up, down = box(place)
        dashed = ' stroke-dasharray="4 3"' if place.kind == "side" else ""
        svg.append(
            f'<rect class="{place.kind}" x="{left:.1f}" y="{up}" width="{right - left:.1f}" height="{down - up}" '
            f'rx="{3 if place.row else 1}"{dashed}/>'
        )
        if place.text:
            label = up - 4 if place.kind == "input" else up + 12.5
            svg.append(_text((left + right) / 2, label, place.text, 10, anchor="middle"))
    return svg, width, height


def _middle(place, source, lefts, widths):
    """Where between two lanes' edges a line goes down."""
    lane = place.detours.get(id(source))
    return None if lane is None else lefts[lane] + widths[lane] / 2


def _line(start: tuple, end: tuple, by: float | None) -> str:
    """From one box to another below it, straight down where both are wide enough."""
    wide = (start[1] - start[0], end[1] - end[0])
    narrow = start if wide[0] < wide[1] else end
    down = by if by is not None else (narrow[0] + narrow[1]) / 2
    first = down if start[0] <= down <= start[1] else (start[0] + start[1]) / 2
    last = down if end[0] <= down <= end[1] else (end[0] + end[1]) / 2
    points = [(first, start[3]), (down, start[3] + 6), (down, end[2] - 3), (last, end[2])]
    return f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _legend(y: int) -> list[str]:
    svg, x = [], LEFT
    for kind, name in LEGEND.items():
        svg.append(f'<rect class="{kind}" x="{x}" y="{y - 9}" width="14" height="11" rx="2"/>')
        svg.append(_text(x + 19, y, name, 11, "faint"))
        x += 40 + round(_wide(name, 11))
    svg.append(_text(x, y, "3x3 64 /2: kernel, channels, stride", 11, "faint"))
    return svg


def _text(x: float, y: float, text: str, size: int, kind: str = "", bold: bool = False, anchor: str = "") -> str:
    more = f' class="{kind}"' if kind else ""
    more += ' font-weight="600"' if bold else ""
    more += f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}"{more}>{escape(text)}</text>'


def _wide(text: str, size: float) -> float:
    return LETTER * size * len(text)


def _short(number: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
