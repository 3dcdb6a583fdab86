"""What of a pretrained network is trained, at which rate, and the plan that says so before it happens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from convcraft.layers import ClassNames, GroupedRates, Model
from convcraft.zoo.graphs import weighs

from ..report.format import duration, plural
from .bodies import Body
from .frozen_features import tiled
from .linear import Linear

POLICIES = ("auto", "linear", "top", "deep", "svm", "scratch")
# what a policy does; the table of size and similarity (cs231n; Yosinski et al. 2014, arXiv 1411.1792)
MEANING = {
    "linear": "a linear classifier on frozen features: few images, like those of the pretraining",
    "svm": "a support vector machine on frozen features of an earlier layer: few images, unlike the pretraining",
    "top": "the last third of the layers: more images, like those of the pretraining",
    "deep": "all layers, the early ones slowly: more images, or unlike those of the pretraining",
    "scratch": "all layers from new weights: many images, unlike anything the pretraining has seen",
}
# of the base rate, for each third of the layers; the head has all of it
RATES = {"top": (0.0, 0.0, 1.0), "deep": (0.3, 1.0, 1.0), "scratch": (1.0, 1.0, 1.0)}
THIRDS = ("early layers", "middle layers", "late layers")
DROPOUT = 0.2


@dataclass(frozen=True)
class Group:
    """Layers that learn at one rate.

    Attributes:
        name: of the group.
        layers: names of its layers that have weights.
        parameters: how many they have.
        rate: the largest learning rate; 0 where they are frozen.
        factor: of the base rate.
    """

    name: str
    layers: tuple[str, ...]
    parameters: int
    rate: float
    factor: float


@dataclass
class Plan:
    """What `fine_tune` is about to do; `str()` says it all.

    Attributes:
        model: the pretrained model.
        policy: linear, svm, top, deep or scratch.
        why: how it was chosen.
        groups: what is frozen and at which rate the rest learns, from the images on; the head last.
        counts: images by split.
        classes: names.
        image_shape: of the images.
        epochs: passes over the training images; 0 where the solution is computed at once.
        steps: of all epochs.
        settings: name to value, in words: loss, schedule, augmentation, ….
        notes: what else to know, imbalance among it.
        seconds: expected duration of training, from a few measured steps; None where nothing was measured.
        measured: accuracies on held-out training images that the choice of `auto` rests on.
    """

    model: str
    policy: str
    why: str
    groups: list[Group]
    counts: dict[str, int]
    classes: list[str]
    image_shape: tuple[int, ...]
    epochs: int
    steps: int
    settings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float | None = None
    measured: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """The plan, in lines."""
        images = ", ".join(f"{number:,} {split}" for split, number in self.counts.items())
        few = ", ".join(self.classes[:6]) + (", …" if len(self.classes) > 6 else "")
        lines = [
            f"Plan: fine-tune {self.model} by the policy {self.policy!r}: {MEANING[self.policy]}",
            f"  why           {self.why}",
            f"  images        {images}, {'x'.join(map(str, self.image_shape))}; {len(self.classes)} classes: {few}",
        ]
        for group in self.groups:
            rate = f"learns at {group.rate:.2g}" if group.rate else "frozen"
            if group.rate and not self.epochs:
                rate = "solved at once"
            lines.append(
                f"  {group.name:<13} {rate}, {plural(len(group.layers), 'layer')}, {group.parameters:,} parameters"
            )
        lines += [f"  {key:<13} {value}" for key, value in self.settings.items()]
        if self.epochs:
            lines.append(f"  training      {self.epochs} epochs, {self.steps:,} steps")
        if self.seconds is not None:
            lines.append(
                f"  expected      {duration(self.seconds)}, from {'a few steps' if self.epochs else 'one pass'}"
            )
        return "\n".join([*lines, *(f"  note          {note}" for note in self.notes)])


def with_head(body: Body, classes: Sequence[str], linear: Linear | None = None, level: str = "") -> Model:
    """The body with a new classifier for these classes.

    Args:
        body: of `bodies.find`.
        classes: names.
        linear: its first weights; None for small random ones.
        level: the layer whose features it is given; "" for the last.

    Returns:
        A `convcraft.Model`: raw 0-255 images in, logits out, the names of the classes in the file.
    """
    x = tiled(body, level) if level else body.model.outputs[0]
    x = keras.layers.Dropout(DROPOUT, name="fine_tuned_dropout")(x)
    # float32 under mixed precision, too: the loss needs the logits' digits
    head = keras.layers.Dense(len(classes), kernel_initializer="zeros", dtype="float32", name="fine_tuned_head")
    x = ClassNames(list(classes), name="fine_tuned_names", dtype="float32")(head(x))
    model = Model(body.model.inputs[0], x, name=body.name)
    if linear is not None:
        head.set_weights([linear.kernel, linear.bias])
    return model


def thirds(body: Body) -> list[list[keras.layers.Layer]]:
    """The body's layers in three parts with as many convolutions each, in the order of the signal."""
    layers = body.layers()
    total = sum(map(_convolutions, layers))
    lacking = max(0, 3 - total)  # of one or two, the last is late
    parts: list[list[keras.layers.Layer]] = [[], [], []]
    seen = 0
    for layer in layers:
        seen += _convolutions(layer)
        # what follows a convolution belongs to it
        parts[3 * max(0, seen - 1 + (lacking if seen else 0)) // (total + lacking)].append(layer)
    return parts


def _convolutions(layer: keras.layers.Layer) -> int:
    """How many there are in a layer, those in layers of its own too."""
    return weighs(layer) or sum(map(weighs, layer._flatten_layers(include_self=False)))


def prepare(model: keras.Model, body: Body, policy: str, rate: float) -> list[Group]:
    """Freezes what the policy does not train, and says which group learns at which rate.

    Batch normalization keeps the statistics, gains and offsets of the pretraining in every policy but scratch: it runs
    in inference mode, for batches of few and similar images would ruin them. `model` must be compiled afterwards: a
    compiled function keeps what was frozen when it was made.

    Args:
        model: of `with_head`, not compiled.
        body: it was made of.
        policy: one of `POLICIES`, decided.
        rate: the base rate.
    """
    factors, kinds = RATES.get(policy, (0.0, 0.0, 0.0)), keras.layers.BatchNormalization
    groups = []
    for name, factor, layers in zip(THIRDS, factors, thirds(body), strict=True):
        for layer in layers:
            fixed = layer.name == "preprocess" and not layer.trainable
            layer.trainable = bool(factor) and not fixed
            for norm in (each for each in layer._flatten_layers() if isinstance(each, kinds)):  # within a block, too
                norm.trainable = layer.trainable and policy == "scratch"
                if policy == "scratch":  # Keras's .99 takes hundreds of steps to forget its first statistics
                    norm.momentum = min(norm.momentum, 0.9)
        named = tuple(layer.name for layer in layers if layer.weights)
        size = sum(layer.count_params() for layer in layers)
        groups.append(Group(name, named, size, rate * factor, factor))
    head = model.get_layer("fine_tuned_head")
    head.trainable = True
    return [*groups, Group("head", (head.name,), head.count_params(), rate, 1.0)]


def grouped(optimizer: keras.optimizers.Optimizer, model: keras.Model, groups: Sequence[Group]) -> Any:
    """The optimizer with each group at its rate; itself where all learn at the same."""
    slow = [group for group in groups if group.factor not in (0.0, 1.0)]
    if not slow:
        return optimizer
    factors = {}
    for group in slow:
        layers = set(group.layers)
        for layer in _flat(model):
            if layer.name in layers and layer.trainable_variables:
                for variable in layer.trainable_variables:
                    factors[f"^{_escaped(variable.path)}$"] = group.factor
    return GroupedRates(optimizer, factors)


def _flat(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model._flatten_layers(include_self=False) if not isinstance(layer, keras.Model)]


def _escaped(path: str) -> str:
    import re

    return re.escape(path)


def frozen_normalization(model: keras.Model) -> int:
    """How many layers of batch normalization keep what they have."""
    kinds = keras.layers.BatchNormalization
    return sum(isinstance(layer, kinds) and not layer.trainable for layer in _flat(model))
