"""From a name to a model: families register here, users create, ask and load here."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras

from convcraft.layers import ClassNames, Model
from convcraft.layers.keras_names import register_classes

from . import shipped
from .costs import Cost, cost
from .design import Design
from .downloads import names_of
from .index import NAMES, builder_name
from .weights import DOC as WEIGHTS
from .weights import load_weights

HEADS = ("softmax", "multilabel", "regression", "none")
_FACTS: dict[str, dict] = {}  # a model's name: what its family said of it


@dataclass(frozen=True)
class Info:
    """What is known of a model: where it comes from, what it costs, what it is built by.

    Attributes:
        name: for `zoo.create`.
        summary: one sentence.
        source: the paper.
        year: of the paper.
        input_shape: at which costs are given.
        classes: at which costs are given.
        knobs: fields of `Design` that the family honours.
        published: accuracy as published, and by whom; None where we know of none.
        deviations: from the paper.
        weights: names of published weights, for `weights=`.
        sections: where in the paper a part is, by the pattern of its name; see `zoo.explain`.

    `parameters` (trainable), `total` and `multiply_adds` are counted on the built model when first asked for.
    """

    name: str
    summary: str
    source: str
    year: int
    input_shape: tuple[int, int, int]
    classes: int
    knobs: tuple[str, ...]
    published: str | None
    deviations: str
    weights: tuple[str, ...] = ()
    sections: dict[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def cost(self) -> Cost:
        """The cost of the model as the paper has it."""
        return cost(create(self.name, classes=self.classes, input_shape=self.input_shape))

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return self.cost.trainable

    @property
    def total(self) -> int:
        """Number of all parameters: the trainable and the moving statistics."""
        return self.cost.parameters

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image."""
        return self.cost.multiply_adds


def family(
    variants: dict[str, dict[str, Any]],
    *,
    source: str,
    year: int,
    paper: Design,
    knobs: str,
    size: int = 224,
    classes: int | None = None,
    channels: int = 3,
    published: dict[str, str] | None = None,
    deviations: str = "",
    sections: dict[str, str] | None = None,
) -> Callable[[Callable[..., Any]], tuple[Callable[..., Model], ...]]:
    """Registers an architecture: a function that builds its body becomes one builder for each variant.

    Args:
        variants: a dictionary, model name to the keyword arguments of the function; `size` among them replaces the
            family's, `paper` what it sets of the family's.
        source: the paper.
        year: of the paper.
        paper: a `Design` with the paper's choice for each knob that has one.
        knobs: names of the knobs that the family honours, separated by spaces.
        size: documented height and width.
        classes: number of classes unless told; None: CIFAR's 10 for small images, else ImageNet's 1000.
        channels: of the documented images.
        published: a dictionary, model name to accuracy and by whom.
        deviations: one or two sentences.
        sections: a dictionary, pattern of a stage's or block's name, as "fire*", to its section, table or figure in
            the paper; the first that matches holds. Leave out what you are not sure of.

    The decorated function takes `(x, classes, design, head_kind, *, …variant, …options)`; options with defaults are
    passed on from `zoo.create`.

    Returns:
        A tuple of the builders, in the order of `variants`.
    """

    def register(build):
        builders = []
        for name, variant in variants.items():
            side = variant.get("size", size)
            facts = {
                "build": build,
                "paper": variant.get("paper", Design()).over(paper),
                "knobs": tuple(knobs.split()),
                "size": side,
                "shape": (side, side, channels),
                "classes": classes or (10 if side <= 64 else 1000),
                "arguments": {key: value for key, value in variant.items() if key not in ("size", "paper")},
                "source": source,
                "year": year,
                "summary": (inspect.getdoc(sys.modules[build.__module__]) or "").split("\n")[0],
                "published": (published or {}).get(name),
                "deviations": deviations,
                "sections": sections or {},
            }
            _FACTS[name] = facts
            builders.append(_builder(name, facts))
        return tuple(builders)

    return register


def _builder(model, facts):
    def builder(
        classes=None,
        input_shape=None,
        *,
        weights=None,
        head="softmax",
        design=None,
        name=None,
        **options,
    ):
        design = Design() if design is None else design
        card = shipped.find(model, weights, design) if isinstance(design, Design) else None
        learned = card or {"classes": facts["classes"], "input_shape": facts["shape"]}
        classes = learned["classes"] if classes is None else classes
        input_shape = learned["input_shape"] if input_shape is None else input_shape
        classes = _check(model, classes, input_shape, head, design)
        design.refuse_unknown(model, facts["knobs"])
        design.refuse_idle(model, facts["paper"])
        if card:
            design, weights = design.over(shipped.design(card)), shipped.path(card)
        inputs = keras.Input(tuple(input_shape), name="images")
        try:
            outputs = facts["build"](
                inputs, classes, design.over(facts["paper"]), head, **{**facts["arguments"], **options}
            )
        except ValueError as error:
            if "negative" not in str(error).lower():
                raise
            raise ValueError(
                f"{model}: expected larger images, received input_shape={tuple(input_shape)}: nothing is left of them "
                f"after the network's strides. Its documented size is {facts['size']}."
            ) from error
        net = Model(inputs, outputs, name=name or model)
        if weights is not None:
            report = load_weights(net, weights, architecture=model)
            if report.skipped or report.reinitialized:
                print(report)
        return net

    own = [p for p in inspect.signature(facts["build"]).parameters.values() if p.default is not p.empty]
    # what holds unless it is given; in the code it is None, because weights of the package have defaults of their own
    defaults = {"classes": facts["classes"], "input_shape": facts["shape"]}
    signature = inspect.signature(builder)
    builder.__signature__ = signature.replace(  # type: ignore[attr-defined]  # where inspect looks first
        parameters=[p.replace(default=defaults.get(p.name, p.default)) for p in signature.parameters.values()]
    )
    builder.__name__ = builder.__qualname__ = NAMES[model]
    builder.__module__ = facts["build"].__module__
    builder.__doc__ = (
        f"{facts['summary']}\n\nBuilds `{model}`: raw 0-255 images of shape {facts['shape']} in, logits out.\n\n"
        "Args:\n    classes: number of classes, or the list of their names.\n"
        "    input_shape: (height, width, channels); height and width may be None.\n"
        f"    weights: {WEIGHTS}\n"
        f"    head: one of {', '.join(HEADS)}.\n    design: a `zoo.Design`; honours {', '.join(facts['knobs'])}.\n"
        "    name: of the model.\n"
        + (f"    options: {', '.join(f'{p.name}={p.default!r}' for p in own)}; see deviations.\n" if own else "")
        + (f"\nDeviations: {facts['deviations']}\n" if facts["deviations"] else "")
        + f"\nReference:\n    {facts['source']}.\n"
    )
    return builder


def _check(model, classes, input_shape, head, design):
    """Raises for what cannot be; returns the class names, or a number of outputs where these have no names."""
    if not isinstance(design, Design):
        raise ValueError(f"{model}: expected design to be None or a zoo.Design, received {design!r}.")
    if head not in HEADS:
        raise ValueError(f"{model}: expected head to be one of {', '.join(HEADS)}, received {head!r}.")
    shape = input_shape if isinstance(input_shape, tuple | list) and len(input_shape) == 3 else (0, 0, 0)
    if not all(isinstance(size, int) and size > 0 for size in shape if size is not None) or shape[2] is None:
        raise ValueError(
            f"{model}: expected input_shape to be (height, width, channels), of which height and width may be None; "
            f"received {input_shape!r}."
        )
    if isinstance(classes, bool) or not isinstance(classes, int | list | tuple):
        raise ValueError(f"{model}: expected classes to be a number or a list of names, received {classes!r}.")
    if isinstance(classes, int):
        if classes < 1:
            raise ValueError(f"{model}: expected classes to be at least 1, received {classes}.")
        return classes if head in ("regression", "none") else [str(number) for number in range(classes)]
    if not classes:
        raise ValueError(f"{model}: expected classes to be a number or a list of names, received an empty list.")
    return len(classes) if head in ("regression", "none") else list(classes)


def create(
    name: str,
    /,
    classes: int | Sequence[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    **options: Any,
) -> Model:
    """Builds a model by its name.

    Args:
        name: one of `zoo.list_models()`.
        classes: number of classes, or the list of their names; the paper's unless given.
        input_shape: (height, width, channels) of raw 0-255 images; height and width may be None.
        options: `weights`, `head`, `design`, `name` and the family's own; see the builder, `zoo.SqueezeNet1_1`, ….

    Returns:
        A `convcraft.Model`, functional: images in, logits out.

    Example:
        >>> create("squeezenet_cifar", classes=["ant", "bee"]).output_shape
        (None, 2)
    """
    builder = getattr(importlib.import_module("convcraft.zoo"), builder_name(name))
    given = {"classes": classes, "input_shape": input_shape}
    return builder(**{key: value for key, value in given.items() if value is not None}, **options)


def info(name: str) -> Info:
    """What is known of a model; see `Info`.

    Example:
        >>> info("squeezenet1_1").year
        2016
    """
    model = builder_name(name).lower()
    getattr(importlib.import_module("convcraft.zoo"), NAMES[model])
    facts = _FACTS[model]
    return Info(
        name=model,
        summary=facts["summary"],
        source=facts["source"],
        year=facts["year"],
        input_shape=facts["shape"],
        classes=facts["classes"],
        knobs=facts["knobs"],
        published=facts["published"],
        deviations=facts["deviations"],
        weights=names_of(model),
        sections=facts["sections"],
    )


def class_names(model: keras.Model) -> list[str] | None:
    """The names of the classes of a zoo model, in the order of its outputs; None where it has none.

    Example:
        >>> class_names(create("resnet20_cifar", classes=["ant", "bee"]))
        ['ant', 'bee']
    """
    return next((layer.names for layer in reversed(model.layers) if isinstance(layer, ClassNames)), None)


def load_model(path: str | os.PathLike[str], **options: Any) -> keras.Model:
    """Loads any saved `.keras` model, with convcraft's classes known to Keras; also `convcraft.load_model`.

    Keras's own does as well, once convcraft is imported.

    Args:
        path: of the file.
        options: of `keras.saving.load_model`.
    """
    register_classes()
    return keras.saving.load_model(path, **options)
