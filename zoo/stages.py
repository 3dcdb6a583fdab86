"""A model's layers as stages, blocks and repetitions, by their hierarchical names and the sizes of their maps."""

import re
from dataclasses import dataclass, field
from typing import Any

import keras

from convcraft.layers import ClassNames, FractalPath

from .costs import LayerCost, cost
from .graphs import nodes

ENTRY = {"images", "preprocess", "path"}
EXIT = {"pool"}  # before the classifier


@dataclass
class Unit:
    """Layers that belong together: a block, or what stands alone.

    Attributes:
        name: the part of their names that they share.
        layers: in the order of computation.
        costs: of each layer.
    """

    name: str
    layers: list[Any] = field(default_factory=list)
    costs: list[LayerCost] = field(default_factory=list)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What comes out, without the batch."""
        return self.costs[-1].output_shape

    @property
    def parameters(self) -> int:
        """All of its parameters."""
        return sum(row.parameters for row in self.costs)

    @property
    def multiply_adds(self) -> int:
        """For one image."""
        return sum(row.multiply_adds for row in self.costs)

    @property
    def likeness(self) -> tuple:
        """The same for units that repeat each other."""
        rows = [(row.kind, row.output_shape, row.parameters, row.multiply_adds) for row in self.costs]
        return (re.sub(r"\d.*", "", self.name), *rows)


@dataclass
class Group:
    """Units that repeat each other, one after the other.

    Attributes:
        units: at least one.
    """

    units: list[Unit]

    @property
    def name(self) -> str:
        """As "stage3_block2-36"."""
        return _span(self.units[0].name, self.units[-1].name)

    @property
    def parameters(self) -> int:
        """Of all units."""
        return sum(unit.parameters for unit in self.units)

    @property
    def multiply_adds(self) -> int:
        """Of all units."""
        return sum(unit.multiply_adds for unit in self.units)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of the last."""
        return self.units[-1].output_shape


@dataclass
class Stage:
    """Groups at one resolution, or of one name.

    Attributes:
        name: of the stage.
        groups: at least one.
    """

    name: str
    groups: list[Group]

    @property
    def parameters(self) -> int:
        """Of all groups."""
        return sum(group.parameters for group in self.groups)

    @property
    def multiply_adds(self) -> int:
        """Of all groups."""
        return sum(group.multiply_adds for group in self.groups)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of the last group."""
        return self.groups[-1].output_shape


def stages(model: keras.Model) -> list[Stage]:
    """The stages of a model, from the input on; their parameters and multiply-adds add up to those of `zoo.cost`.

    Args:
        model: any functional model with a fixed input size.
    """
    found: list[Stage] = []
    for unit in units(model):
        name, _, block = unit.name.partition("_block")
        name = name if block else unit.name
        last = found[-1] if found else None
        before = last.groups[-1].units[-1] if last else None
        if last is None or before is None or not _belongs(unit, name, last, before):
            found.append(Stage(name, [Group([unit])]))
        elif before.likeness == unit.likeness:
            last.groups[-1].units.append(unit)
        else:
            last.groups.append(Group([unit]))
    for stage in found:
        if "_block" not in stage.groups[0].name:
            stage.name = _span(stage.groups[0].units[0].name, stage.groups[-1].units[-1].name)
    return found


def _belongs(unit, name, stage, before):
    """Whether a unit goes on with a stage: by its name, or as one more of a kind at the same resolution."""
    if "_block" in unit.name:
        return name == stage.name
    (kind, number, _), (other, previous, _) = (_parts(each.name) for each in (unit, before))
    follows = previous and number and 0 <= int(number) - int(previous) <= 1
    return bool(follows) and kind == other and unit.output_shape[:-1] == before.output_shape[:-1]


def _parts(name):
    """What stands before the last number of a name, the number, and a letter after it: inception, 3, a."""
    found = re.fullmatch(r"(.*?)(\d+)([a-z]?)", name)
    return found.groups() if found else (name, "", "")


def _span(first, last):
    kind, number, letter = _parts(last)
    if first == last or _parts(first)[0] != kind:
        return first
    return f"{first}-{number}{letter}"


def units(model: keras.Model) -> list[Unit]:
    """The units of a model, in the order of computation; see `Unit`.

    Layers whose names Keras made up are grouped by the size of their maps.
    """
    costs = {row.name: row for row in cost(model).layers}
    seen: set[int] = set()
    found: dict[str, Unit] = {}
    layers = [node.operation for node in nodes(model)]
    unnamed = sum(map(_automatic, layers)) > len(layers) / 2
    size: tuple = ()
    name = current = ""
    for layer in layers:
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        row = costs[layer.name]
        if isinstance(layer, keras.layers.InputLayer):
            name = "images"
        elif isinstance(layer, ClassNames) and found:
            pass  # with what they name
        elif unnamed:
            if row.output_shape[:-1] != size:
                size, before = row.output_shape[:-1], len(found)
                label = "x".join(map(str, size)) or "vector"
                current = label if label not in found else f"{label} ({before})"
            name = current
        else:
            name = unit_of(layer.name)
        unit = found.setdefault(name, Unit(name))
        end = 1 if isinstance(layer, FractalPath) else len(unit.layers)  # it tells which way, and passes nothing on
        unit.layers.insert(end, layer)
        unit.costs.insert(end, row)
    return list(found.values())


def unit_of(name: str) -> str:
    """The unit that a layer's name says: `stage1_block2` of `stage1_block2_conv1_norm`, `fire2` of `fire2_squeeze`."""
    parts = name.split("_")
    if parts[0] in ENTRY:
        return "images"
    if parts[0] in EXIT:
        return "head"
    if len(parts) > 1 and (re.fullmatch(r"(block|module)\d+", parts[1]) or parts[1].isdigit()):
        return f"{parts[0]}_{parts[1]}"
    return parts[0]


def _automatic(layer):
    """Whether Keras made the name up."""
    plain = re.sub(r"(_\d+)?$", "", layer.name).replace("_", "")
    return plain == type(layer).__name__.lower()
