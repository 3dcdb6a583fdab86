"""What is known of the zoo: costs by image size, and accuracies that were measured, from the tables of the package."""

import csv
import functools
import math
import pathlib
import shlex
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import keras

from convcraft import zoo

from . import widths

TABLES = pathlib.Path(__file__).parent / "tables"  # by benchmarks/advice.py
ALIKE = 2.0  # measurements count for images up to twice as large or half as large, and up to twice as many
CLASSES = 10  # times as many are another task: what tells 3 kinds of cells apart says nothing of 1,000 things


@dataclass(frozen=True)
class Measured:
    """An accuracy that was measured, as benchmarks/results has it.

    Attributes:
        data: the name of the set.
        accuracy: share of the test images.
        low, high: its 95 % interval.
        image_size: side in pixels.
        classes: of the set.
        images_per_class: to train on.
        policy: "recipe" for training from new weights; "scratch", "linear", "auto", …: of `fine_tune`.
        weights: that were fine-tuned; "" for none.
    """

    data: str
    accuracy: float
    low: float
    high: float
    image_size: int
    classes: int
    images_per_class: int
    policy: str
    weights: str

    def __str__(self) -> str:
        """With the conditions, which another task has not."""
        return (
            f"{100 * self.accuracy:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f}) on {self.data}, "
            f"{self.classes} classes, {self.images_per_class:,} images of each, {self.image_size} pixels across"
        )


@dataclass(frozen=True)
class Task:
    """What is to be learned: the side of the images, classes, images of each, channels; and what is wanted."""

    size: int
    classes: int
    images: float
    channels: int
    batch_size: int
    accuracy: float | None

    def like(self, row: Measured, channels: int) -> bool:
        """Whether what was measured says something of this task."""
        alike = abs(math.log(self.size / row.image_size)) <= math.log(ALIKE) + 1e-9
        return alike and (channels == 1) == (self.channels == 1)

    def few(self, row: Measured) -> bool:
        """Whether the task has no more than comparable numbers of images, and of classes to tell apart."""
        return self.images <= ALIKE * row.images_per_class and self.classes <= CLASSES * row.classes


@dataclass(frozen=True)
class Candidate:
    """A model of the zoo, or the network of a recipe, and its costs by image size."""

    model: str
    recipe: str
    options: str
    made_for: int
    published: str | None
    stride: float
    rows: tuple[dict[str, float], ...]

    def spent(self, task: Task) -> dict[str, float]:
        """What it takes: exact for the sizes of the table and three channels, else near it."""
        row = min(self.rows, key=lambda row: abs(math.log(row["size"] / task.size)))
        area = (task.size / row["size"]) ** 2
        found = {
            name: row[name] * (1 if name == "parameters" else area) + row[f"{name}_per_class"] * task.classes
            for name in ("parameters", "multiply_adds", "activation_bytes")
        }
        return found | {
            "memory": widths.training_memory(found["parameters"], found["activation_bytes"], task.batch_size)
        }

    def exact(self, task: Task) -> bool:
        """Whether the table has these images."""
        return task.channels == 3 and task.size in [row["size"] for row in self.rows]

    def build(self, task: Task) -> keras.Model:
        """The network; its weights are zeros where that is quicker to make."""
        shape = (task.size, task.size, task.channels)
        if self.recipe:
            return recipe_model(self.recipe, self.options, shape, task.classes)
        knobs = {"conv_init", "dense_init"} & set(zoo.info(self.model).knobs)
        return zoo.create(self.model, task.classes, shape, design=zoo.Design(**dict.fromkeys(knobs, "zeros")))


def recipe_model(recipe: str, options: str, shape: tuple[int, int, int], classes: int) -> keras.Model:
    """The network that a recipe builds for images of a shape.

    Args:
        recipe: its name.
        options: as on the command line.
        shape: (height, width, channels).
        classes: their number.
    """
    from convcraft.options import recipe_options

    from .. import loop

    module = loop.load_recipe(recipe)
    config = recipe_options(module.Config, shlex.split(options), prog=recipe)
    names = [str(number) for number in range(classes)]
    return module.model(config, SimpleNamespace(class_names=names, image_shape=shape))


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a table of the package."""
    with (TABLES / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@functools.cache
def candidates() -> tuple[Candidate, ...]:
    """All models and recipes' networks of the table of costs."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in read_table("costs.csv"):
        groups.setdefault((row["model"], row["recipe"], row["options"]), []).append(row)
    words = ("model", "recipe", "options", "published")
    return tuple(
        Candidate(
            *key,
            made_for=int(rows[0]["made_for"]),
            published=rows[0]["published"] or None,
            stride=float(rows[0]["stride"]),
            rows=tuple({name: float(value) for name, value in row.items() if name not in words} for row in rows),
        )
        for key, rows in groups.items()
    )


@functools.cache
def measurements() -> tuple[tuple[str, str, int, Measured], ...]:
    """(model, recipe and options, channels, what was measured) of each row."""
    numbers = {"accuracy": float, "low": float, "high": float, "image_size": int, "classes": int}
    numbers |= {"images_per_class": int}
    found = []
    for row in read_table("measured.csv"):
        fields: dict[str, Any] = {name: kind(row[name]) for name, kind in numbers.items()}
        measured = Measured(data=row["data"], policy=row["policy"], weights=row["weights"], **fields)
        found.append((row["model"], f"{row['recipe']} {row['options']}".strip(), int(row["channels"]), measured))
    return tuple(found)


def tuned(task: Task) -> list[tuple[str, Measured]]:
    """Fine-tuning on comparable data; of several sets that on which most was measured, whose rows compare."""
    found = [
        (model, row)
        for model, _, channels, row in measurements()
        if row.policy != "recipe" and task.like(row, channels) and task.few(row)
    ]
    sets = [row.data for _, row in found]
    most = max(sets, key=sets.count, default="")
    return [(model, row) for model, row in found if row.data == most]


def trained(task: Task) -> dict[str, Measured]:
    """Recipe and options to the accuracy from new weights, on the set whose images and classes are most alike."""
    found = [
        (recipe, row)
        for _, recipe, channels, row in measurements()
        if row.policy == "recipe" and task.like(row, channels)
    ]
    near = min(
        (row for _, row in found),
        key=lambda row: (abs(math.log(row.image_size / task.size)), abs(math.log(row.classes / task.classes))),
        default=None,
    )
    return {recipe: row for recipe, row in found if near and row.data == near.data}
