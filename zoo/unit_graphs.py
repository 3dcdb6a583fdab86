"""Where the layers of a block stand in a drawing: in rows by depth, in lanes side by side, joins across their lanes."""

import re
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from .explanation import JOINS, describe, step
from .graphs import signals
from .stages import Unit

MANY = 40  # of a unit's layers, beyond which it is one box


@dataclass
class Place:
    """A layer's place, or that of what comes in (row 0).

    Attributes:
        text: what is written in it; empty for the plain input.
        kind: conv, pool, join, dense, side, other or input.
        row: from 1.
        lanes: the first and the last that it spans.
        sources: the places that it takes.
        detours: for those of the sources whose way down is barred, the lane to go by.
    """

    text: str
    kind: str
    row: int = 0
    lanes: tuple[int, int] = (0, 0)
    sources: list["Place"] = field(default_factory=list)
    detours: dict[int, int] = field(default_factory=dict)


def places(unit: Unit, calls: dict[int, Any], owners: dict[int, str], before: str) -> list[Place]:
    """Arranges the layers of a unit that have a name in the drawing; the others are passed through.

    Args:
        unit: the unit.
        calls: of each tensor, by id, the node that it comes out of.
        owners: of each layer, by id, the name of its unit.
        before: name of the unit that stands before this one in the drawing: what comes from another is labelled.
    """
    shown = [layer for layer in unit.layers if _text(layer)]
    if not shown or len(shown) > MANY:
        start = Place("", "input")
        text = shorten(describe(unit), 76, placeholder=" …")
        return [start, Place(text, _kind(unit.layers[0]) if not shown else "other", 1, sources=[start])]
    inside = {id(layer) for layer in unit.layers}
    made: dict[int, Place] = {}  # by id of a layer, or of a unit's name outside
    order: list[Place] = []

    def place_of(tensor):
        node = calls[id(tensor)]
        layer = node.operation
        if id(layer) not in inside:
            if id(tensor) not in outside:
                owner = owners[id(layer)]
                named[id(tensor)] = (owner, layer.name.removeprefix(f"{owner}_"))
                outside[id(tensor)] = Place("" if owner == before else f"from {owner}", "input")
            return outside[id(tensor)]
        if id(layer) in made:
            return made[id(layer)]
        sources: list[Place] = []
        # a projection stands beside the branch, to its right, as a plain shortcut does
        for source in map(place_of, sorted(signals(node), key=lambda t: "shortcut" in calls[id(t)].operation.name)):
            if not any(source is known for known in sources):
                sources.append(source)
        if not _text(layer):
            if len(sources) == 1:
                made[id(layer)] = sources[0]
                return sources[0]
            if not sources:
                made[id(layer)] = outside.setdefault(0, Place("", "input"))
                return made[id(layer)]
        here = Place(_text(layer) or "…", _kind(layer), 1 + max((each.row for each in sources), default=0))
        here.sources = sources
        hint = re.search(r"column(\d+)", layer.name)
        hints[id(here)] = int(hint[1]) if hint else None
        made[id(layer)] = here
        order.append(here)
        return here

    outside: dict[int, Place] = {}  # by id of the tensor that comes in
    named: dict[int, tuple[str, str]] = {}
    hints: dict[int, int | None] = {}
    for layer in reversed(unit.layers):  # from the ends on, so that branches come in the order of their joins
        if id(layer) not in made:
            place_of(next(t for node in layer._inbound_nodes for t in node.output_tensors if id(t) in calls))
    order.sort(key=lambda place: place.kind == "side")
    starts = list(outside.values())
    if len(starts) > 1:  # side by side, each with its label
        twice = len({owner for owner, _ in named.values()}) < len(named)
        for number, (key, start) in enumerate(outside.items()):
            owner, layer = named.get(key, ("above", ""))
            start.text = f"{layer} of {owner}" if twice else start.text or "from above"
            start.lanes = (number, number)
    _arrange(order, hints, len(starts) > 1)
    if len(starts) == 1:
        below = [lane for place in order for lane in _reach(place, starts[0])]
        starts[0].lanes = (min(below), max(below)) if below else (0, 0)
    return [*starts, *order]


def _arrange(order, hints, several):
    """Gives each place its lanes; with `several` things that come in, these have theirs already."""
    taken: set[tuple[int, int]] = set()
    columns = max((hint for hint in hints.values() if hint is not None), default=0)

    def free(rows, wish):
        lanes = [wish] if wish is not None else []
        return next(lane for lane in [*lanes, *range(100)] if all((row, lane) not in taken for row in rows))

    def own(row, wish):
        """The lane wished for, or one that nothing stands in: another might be crossed later."""
        used = {lane for _, lane in taken}
        return wish if wish is not None and (row, wish) not in taken else next(x for x in range(100) if x not in used)

    for place in order:
        lanes = []
        for source in sorted(place.sources, key=lambda each: -each.row):
            between = range(source.row + 1, place.row)
            lane = source.lanes[0] if source.row or several else None
            if between:
                lane = free(between, lane)
                taken.update((row, lane) for row in between)
                place.detours[id(source)] = lane
            if lane is not None:
                lanes.append(lane)
        hint = hints[id(place)]
        if len(place.sources) > 1 and lanes:
            place.lanes = (min(lanes), max(lanes))
        elif hint is not None:
            place.lanes = (columns - hint,) * 2
        else:
            place.lanes = (own(place.row, lanes[0] if lanes else None),) * 2
        taken.update((place.row, lane) for lane in range(place.lanes[0], place.lanes[1] + 1))


def _reach(place, start):
    """The lanes in which a place is reached from what comes in."""
    if not any(source is start for source in place.sources):
        return []
    lane = place.detours.get(id(start))
    return [lane] if lane is not None else list(place.lanes)


def _text(layer):
    body = getattr(layer, "body", None)
    if body is not None:  # an auxiliary classifier
        return "in training: " + ", ".join(text for text in map(step, body.layers) if text)
    return step(layer)


def _kind(layer):
    kind = type(layer).__name__
    if hasattr(layer, "body"):
        return "side"
    if kind in JOINS and kind not in ("DepthToSpace", "BilinearUpsampling2D", "Flatten", "Maxout"):
        return "join"
    if "Pooling" in kind:
        return "pool"
    if "Dense" in kind:
        return "dense"
    return "conv" if "Conv" in kind else "other"
