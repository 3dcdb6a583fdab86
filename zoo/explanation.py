"""What a model is made of, part by part: what each is, what it costs, where the paper has it, which advice it shows."""

import fnmatch
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from keras import layers

from .registry import create, info
from .stages import Unit, stages
from .tables import table

# the design patterns of Smith and Topin 2016 (arXiv 1611.00847), and the tips, as in the project's list of advice
ADVICE = {
    "P02": "proliferate paths",
    "P04": "increase symmetry",
    "P05": "pyramid shape: resolution falls, channels grow",
    "P06": "overtrain: dropout and drop-path",
    "P08": "incremental feature construction: short skips",
    "P09": "normalize layer inputs",
    "P10": "input transition: many channels in the first layer",
    "P12": "joining by sums, or means where branches can be dropped",
    "P13": "down-sampling transition: concatenate, or stride, to raise the channels",
    "P14": "maxout for competition",
    "D03": "1x1 kernels that narrow or widen what the others see",
    "D04": "depthwise separable convolutions",
    "D06": "a stride in place of pooling",
    "D07": "global average pooling: any image size",
    "T02": "freeze-drop-path",
}
NORMS = {
    "BatchNormalization": "batch norm",
    "LayerNormalization": "layer norm",
    "GroupNormalization": "group norm",
    "LocalResponseNormalization": "local response norm",
}
JOINS = {
    "Add": "sum",
    "Average": "mean of branches",
    "Maximum": "maximum",
    "Concatenate": "concat",
    "Multiply": "product",
    "FractalJoin": "join",
    "FreezeDropPath": "freeze-drop-path",
    "AuxiliaryClassifier": "classifier in training",
    "DepthToSpace": "depth to space",
    "BilinearUpsampling2D": "bilinear",
    "Flatten": "flatten",
    "Maxout": "maxout",
}


@dataclass(frozen=True)
class Part:
    """A part of a model: one unit, or several that repeat each other.

    Attributes:
        name: of the unit, or of the first and the last.
        repeats: how many units.
        what: its layers, in short.
        output_shape: without the batch.
        parameters: of all units.
        multiply_adds: of all units, for one image.
        section: in the paper; empty where we do not know.
        advice: ids of the design patterns and tips that it shows; see `Explanation.legend`.
    """

    name: str
    repeats: int
    what: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    section: str
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """What `zoo.explain` tells; prints as a table.

    Attributes:
        name: of the model.
        summary: one sentence.
        source: the paper.
        deviations: from it.
        rows: a `Part` for each row.
    """

    name: str
    summary: str
    source: str
    deviations: str
    rows: tuple[Part, ...]

    @property
    def legend(self) -> dict[str, str]:
        """What the ids in the column `shows` stand for."""
        used = {each for row in self.rows for each in row.advice}
        return {key: text for key, text in ADVICE.items() if key in used}

    def __str__(self) -> str:
        """A table, and below it the source, the deviations and what the ids stand for."""
        heads = ("part", "what it is", "out", "parameters", "multiply-adds", "paper", "shows")
        rows: list[tuple] = []
        for row in self.rows:
            name = row.name if row.repeats == 1 else f"{row.name} x {row.repeats}"
            shape = "x".join(map(str, row.output_shape))
            rows.append((name, row.what, shape, row.parameters, row.multiply_adds, row.section, " ".join(row.advice)))
        total = sum(row.parameters for row in self.rows), sum(row.multiply_adds for row in self.rows)
        lines = [
            f"{self.name}: {self.summary}\n",
            table(heads, [*rows, ("in all", "", "", *total, "", "")]),
            f"\npaper: {self.source}",
            f"deviations: {self.deviations or 'none'}",
            *(f"{key}: {text}" for key, text in self.legend.items()),
        ]
        return "\n".join(lines)


def explain(name: str) -> Explanation:
    """Explains a model part by part: layers, shape, cost, where in the paper it is, which advice it shows.

    What a part is and costs is read from the built model; the sections are what its family's file says.

    Args:
        name: one of `zoo.list_models()`.

    Returns:
        An `Explanation`: its `rows` are the parts, and it prints as a table.

    Example:
        >>> from convcraft import zoo
        >>> rows = {row.name: row for row in zoo.explain("squeezenet_cifar").rows}
        >>> rows["fire2"].what, rows["fire2"].section
        ('1x1 16, 3x3 64, 1x1 64, concat; relu', 'section 3.2, table 1')
    """
    known = info(name)
    parts: list[Part] = []
    before: Unit | None = None
    for stage in stages(create(known.name, classes=known.classes, input_shape=known.input_shape)):
        for group in stage.groups:
            first = group.units[0]
            section = next((text for key, text in known.sections.items() if fnmatch.fnmatch(group.name, key)), "")
            parts.append(
                Part(
                    name=group.name,
                    repeats=len(group.units),
                    what=describe(first),
                    output_shape=group.output_shape,
                    parameters=group.parameters,
                    multiply_adds=group.multiply_adds,
                    section="" if first.name == "images" else section,
                    advice=_shown(first, before),
                )
            )
            before = group.units[-1]
    return Explanation(known.name, known.summary, known.source, known.deviations, tuple(parts))


def describe(unit: Unit) -> str:
    """The layers of a unit in short: "1x1 64, 3x3 64, 1x1 256, sum; batch norm, relu"."""
    steps = [text for text in map(step, unit.layers) if text]
    repeated = Counter(steps)
    main = [text if repeated[text] == 1 else f"{repeated[text]} x {text}" for text in dict.fromkeys(steps)]
    if all(one != other for one, other in pairwise(steps)) and len(steps) <= 8:
        main = steps  # in order, where it is short enough
    around = dict.fromkeys(text for text in map(_around, unit.layers) if text)
    return "; ".join(", ".join(each) for each in (main, around) if each) or "as it is"


def step(layer: Any) -> str:
    """One layer in short, as "3x3 64 /2"; empty for normalization, activation and the like."""
    kind = type(layer).__name__
    if kind in JOINS:
        return JOINS[kind]
    if "Global" in kind:
        return "global mean" if "Average" in kind else "global max"
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if isinstance(layer, layers.Dense):
        return f"dense {layer.units}"
    if not isinstance(size, tuple):
        return ""
    text = "x".join(map(str, size))
    stride = max(getattr(layer, "strides", None) or (1,))
    text += f" /{stride}" if stride > 1 else ""
    if "Pooling" in kind:
        return f"{'max' if 'Max' in kind else 'mean'} {text}"
    if "Depthwise" in kind:
        return f"depthwise {text}"
    words = [text.partition(" ")[0], str(layer.filters) if hasattr(layer, "filters") else ""]
    words += [f"/{stride}"] if stride > 1 else []
    words += [f"in {layer.groups} groups"] if getattr(layer, "groups", 1) > 1 else []
    return " ".join(filter(None, words))


def _around(layer):
    kind = type(layer).__name__
    if kind in NORMS:
        return NORMS[kind]
    if isinstance(layer, layers.Activation):
        return str(layer.get_config()["activation"])
    if kind in ("ReLU", "PReLU", "RReLU", "ELU", "LeakyReLU"):
        return kind.lower()
    if kind in ("Dropout", "DropPath"):
        return "dropout" if kind == "Dropout" and layer.rate else "drop-path" if kind == "DropPath" else ""
    if kind in ("Rescaling", "Standardize", "Squeeze", "Whitening"):
        return "preprocessing"
    return "shortcut padded with zeros" if kind == "PadShortcut" else ""


def _shown(unit: Unit, before: Unit | None) -> tuple[str, ...]:
    """The advice that a unit shows, from what its layers are and what comes in."""
    kinds = {type(layer).__name__ for layer in unit.layers}
    convolutions = [layer for layer in unit.layers if isinstance(layer, layers.Conv2D)]
    kernels = {max(layer.kernel_size) for layer in convolutions}
    joins = kinds & {"Add", "Average", "Maximum", "Concatenate", "FractalJoin", "FreezeDropPath"}
    here, there = unit.output_shape, before.output_shape if before else ()
    smaller = len(here) == len(there) == 3 and max(here[:2]) < max(there[:2])
    strided = any(max(layer.strides) > 1 and max(layer.kernel_size) > 1 for layer in convolutions)
    dropped = any(getattr(layer, "rate", 0) for layer in unit.layers if type(layer).__name__ in ("Dropout", "DropPath"))
    shows = {
        "P02": bool(joins),
        "P04": "FractalJoin" in kinds,
        "P05": smaller and here[-1] > there[-1],
        "P06": dropped or any(getattr(layer, "drop_path", 0) for layer in unit.layers),
        "P08": "Add" in kinds and len(convolutions) > 1 and "BilinearUpsampling2D" not in kinds,
        "P09": any(kind in NORMS for kind in kinds),
        "P10": unit.name == "stem",
        "P12": bool(kinds & {"Add", "Average", "FractalJoin"}),
        "P13": smaller and (strided or "Concatenate" in kinds) and here[-1] > there[-1],
        "P14": bool(kinds & {"Maximum", "Maxout", "CompetitiveConv2D"}),
        "D03": 1 in kernels and max(kernels) > 1 and "DepthwiseConv2D" not in kinds,
        "D04": bool(kinds & {"DepthwiseConv2D", "SeparableConv2D"}),
        "D06": smaller and strided and unit.name != "stem",
        "D07": "GlobalAveragePooling2D" in kinds,
        "T02": "FreezeDropPath" in kinds,
    }
    return tuple(key for key, found in shows.items() if found)
