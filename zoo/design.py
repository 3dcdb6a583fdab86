"""The knobs that every architecture shares."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from convcraft.layers.keras_names import ACTIVATIONS, parse

NORMALIZATIONS = ("batch", "layer", "group", "instance", "lrn", "lrn_caffe", "none")

# A knob that does nothing on its own: the other that it acts on.
NEEDS = {"norm_position": "normalization", "head_activation": "head_layers", "dropout_min_units": "dropout"}


def knob(needs: str, *values: Any) -> Any:
    """A field that is None by default; `needs` completes "X has no …" where a family cannot honour it."""
    return field(default=None, metadata={"needs": needs, "values": values})


def _number(value, kind=int | float):
    return isinstance(value, kind) and not isinstance(value, bool)


@dataclass(frozen=True)
class Design:
    """Choices that a model of the zoo is built by. None is the paper's choice; "none" means without.

    A knob that a family cannot honour is an error that says why; `zoo.info(name).knobs` lists those it can.

    Attributes:
        activation: relu relu6 leaky (slope .01) very_leaky (1/3) prelu (.25 at the start) prelu0.1 rrelu rrelu_paper
            elu selu gelu silu hard_silu softplus softplus_log2 sigmoid tanh scaled_tanh maxout (two pieces, doubling
            the convolution before it) linear, or one with another number, as leaky0.2, elu0.5 and maxout3; see
            `layers.activation`.
        head_activation: the same, of the dense layers before the logits.
        normalization: batch layer group (8 channels a group) instance lrn (local response normalization, AlexNet's
            constants; lrn_caffe has those of Caffe's AlexNet and GoogLeNet) none.
        norm_position: normalization "before" or "after" the activation.
        pool_position: pooling "before" or "after" the activation.
        transition: how the resolution falls: max avg max+avg stride concat (pooling and strided convolution).
        join: how branches meet: sum mean max concat.
        conv: plain separable (depthwise, then 1x1) factored (1xk, then kx1) grouped (two groups).
        kernel_size: in place of the paper's 3x3 kernels: 3, 5 or 7.
        padding: same valid.
        conv_init: a Keras initializer or its name, of convolutions.
        dense_init: the same, of dense layers. `layers.initialize` changes a model that exists, with named policies.
        kernel_regularizer: a Keras regularizer or its name.
        kernel_constraint: a Keras constraint or its name; `layers.MaxNorm(3)`, for Keras's "max_norm" has the axis of
            dense layers.
        dropout: rate from 0 to 1, where the paper has dropout, else before the logits: after each of `head_layers`,
            or without them on the pooled features.
        dropout_min_units: leaves out dropout after layers of fewer units.
        drop_path: rate of stochastic depth of the last branch; it rises linearly from 0 at the input.
        freeze: freeze-drop-path's intervals: square uniform reverse.
        width: factor of all widths.
        width_schedule: widths by depth: pyramid flat inverse.
        stem_width: channels of the first convolution, before `width` is applied.
        stem_stride: stride of the first convolution.
        depth: number of blocks in each stage, in place of the variant's.
        skip_length: convolutions that a shortcut bridges; as many convolutions in all.
        head_layers: widths of dense layers before the logits, as (512,).
        pooling: before the head: flatten gap (the mean) adaptive (the means of 2x2 tiles).
        preprocessing: the first layers, on raw 0-255 images: paper standardize (the paper's data's mean and deviation)
            squeeze (to -1..1) whitening none.

    Example:
        >>> Design(activation="prelu0.1", normalization="batch").changed()
        {'activation': 'prelu0.1', 'normalization': 'batch'}
    """

    activation: str | None = knob("activation", *ACTIVATIONS)
    head_activation: str | None = knob("dense layers before the logits", *ACTIVATIONS)
    normalization: str | None = knob("place for normalization", *NORMALIZATIONS)
    norm_position: str | None = knob("place for normalization after its activation", "before", "after")
    pool_position: str | None = knob("pooling beside an activation", "before", "after")
    transition: str | None = knob("pooling to replace", "max", "avg", "max+avg", "stride", "concat")
    join: str | None = knob("branches of equal shape to join", "sum", "mean", "max", "concat")
    conv: str | None = knob("spatial convolutions to replace", "plain", "separable", "factored", "grouped")
    kernel_size: int | None = knob("3x3 kernels to replace", 3, 5, 7)
    padding: str | None = knob("choice of padding", "same", "valid")
    conv_init: Any = knob("convolutions")
    dense_init: Any = knob("dense layers")
    kernel_regularizer: Any = knob("kernels to regularize")
    kernel_constraint: Any = knob("kernels to constrain")
    dropout: float | None = knob("place for dropout")
    dropout_min_units: int | None = knob("place for dropout")
    drop_path: float | None = knob("branches that can be dropped")
    freeze: str | None = knob("branches that can be frozen in turn", "square", "uniform", "reverse")
    width: float | None = knob("common factor of its widths")
    width_schedule: str | None = knob("schedule of widths to replace", "pyramid", "flat", "inverse")
    stem_width: int | None = knob("free choice of its stem's width")
    stem_stride: int | None = knob("free choice of its stem's stride", 1, 2, 4)
    depth: int | None = knob("free choice of its depth")
    skip_length: int | None = knob("shortcuts of variable length", 1, 2, 4)
    head_layers: tuple[int, ...] | None = knob("dense layers before the logits")
    pooling: str | None = knob("pooling before its head to replace", "flatten", "gap", "adaptive")
    preprocessing: str | None = knob("choice of preprocessing", "paper", "standardize", "squeeze", "whitening", "none")

    def __post_init__(self) -> None:
        """Checks each knob on its own."""
        for item in dataclasses.fields(self):
            value, allowed = getattr(self, item.name), item.metadata["values"]
            if allowed == ACTIVATIONS and isinstance(value, str) and parse(value):
                continue  # prelu0.05, maxout3, …
            if value is not None and allowed and value not in allowed:
                raise ValueError(
                    f"Design: expected {item.name} to be None or one of {', '.join(map(str, allowed))}; "
                    f"received {value!r}."
                )
        for name in ("dropout", "drop_path"):
            value = getattr(self, name)
            if value is not None and not (_number(value) and 0 <= value < 1):
                raise ValueError(f"Design: expected {name} from 0 to below 1, received {value!r}.")
        if self.width is not None and not (_number(self.width) and 0 < self.width < float("inf")):
            raise ValueError(f"Design: expected width to be a positive number, received {self.width!r}.")
        for name in ("stem_width", "dropout_min_units", "depth"):
            value = getattr(self, name)
            if value is not None and not (_number(value, int) and value > 0):
                raise ValueError(f"Design: expected {name} to be a positive integer, received {value!r}.")
        if self.head_layers is not None:
            if not isinstance(self.head_layers, tuple | list) or not all(
                _number(units, int) and units > 0 for units in self.head_layers
            ):
                raise ValueError(
                    f"Design: expected head_layers to be a tuple of positive integers, received {self.head_layers!r}."
                )
            object.__setattr__(self, "head_layers", tuple(self.head_layers))  # a list may come from a file

    def changed(self) -> dict[str, Any]:
        """The knobs that are set, as a dictionary."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) is not None}

    def over(self, paper: "Design") -> "Design":
        """This design where it is set, `paper` elsewhere: the paper's dense layers with this design's `width`."""
        if paper.head_layers and self.width:
            layers = tuple(max(1, round(units * self.width)) for units in paper.head_layers)
            paper = dataclasses.replace(paper, head_layers=layers)
        return dataclasses.replace(paper, **self.changed())

    def refuse_idle(self, model: str, paper: "Design") -> None:
        """Raises a ValueError for a knob that is set and that another knob leaves without effect."""
        whole = self.over(paper)
        for name, needed in NEEDS.items():
            # a paper that has the one and says None of the other has it in its own way (MobileNet V3's dense layer)
            idle = ("none", 0, ()) if getattr(paper, name) else (None, "none", 0, ())
            if getattr(whole, name) != getattr(paper, name) and getattr(whole, needed) in idle:
                raise ValueError(
                    f"{model}: the knob {name}={getattr(self, name)!r} has no effect without {needed}, which is "
                    f"{getattr(whole, needed)!r} here. Set both, or neither."
                )

    def refuse_unknown(self, model: str, knobs: tuple[str, ...]) -> None:
        """Raises a ValueError for a knob that is set and that `model` does not honour."""
        for item in dataclasses.fields(self):
            if item.name not in knobs and getattr(self, item.name) is not None:
                raise ValueError(
                    f"{model}: the knob {item.name}={getattr(self, item.name)!r} cannot apply: this family has no "
                    f"{item.metadata['needs']}. Its knobs are: {', '.join(knobs)}."
                )
