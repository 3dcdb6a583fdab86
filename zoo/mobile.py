"""What MobileNet V2 and V3 share: channels in multiples of eight, and residual blocks that are wide inside."""

from dataclasses import replace
from typing import Any

from keras import layers

from .blocks import activate, conv, depthwise, drop_path, join
from .design import Design
from .parts import Tensor

NORM: dict[str, Any] = {"epsilon": 1e-3}


def divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple, at least one and not below nine tenths: hardware likes it, and the papers' nets have it."""
    nearest = max(by, int(channels + by / 2) // by * by)
    return nearest + by if nearest < 0.9 * channels else nearest


def inverted_residual(
    x: Tensor,
    wide: int | None,
    filters: int,
    kernel: int,
    stride: int,
    design: Design,
    name: str,
    *,
    excite: int | None = None,
    depth: float = 1.0,
) -> Tensor:
    """1x1 kernels widen, one kernel a channel sees the neighbours, 1x1 kernels narrow again, without activation.

    Args:
        x: images, channels last.
        wide: channels in between; None leaves the first convolution out.
        filters: channels that come out. The input is added where it has as many and the stride is 1.
        kernel: size of the depthwise kernels.
        stride: of the depthwise convolution.
        design: of all; its `width` must be applied already.
        name: before `_expand`, `_depthwise`, `_excite`, `_project`, `_join`.
        excite: None, or the channels that squeeze-and-excitation goes through.
        depth: of the block in the net, 0 to 1, for `drop_path`.
    """
    y = x if wide is None else conv(x, wide, 1, 1, design, f"{name}_expand", norm=NORM)
    y = depthwise(y, kernel, stride, design, f"{name}_depthwise", padding="keras", norm=NORM)
    if excite is not None:
        y = squeeze_excite(y, excite, design, f"{name}_excite")
    y = conv(y, filters, 1, 1, design, f"{name}_project", act=False, norm=NORM)
    if stride > 1 or x.shape[-1] != filters:
        return y
    return join([x, drop_path(y, design, f"{name}_drop", depth)], design, f"{name}_join")


def squeeze_excite(x: Tensor, narrow: int, design: Design, name: str) -> Tensor:
    """Multiplies each channel by a factor from 0 to 1, which two small layers find in the channels' means (Hu 2018)."""
    gate = replace(design, activation="relu", normalization="none", norm_position="before")
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    y = conv(y, narrow, 1, 1, gate, f"{name}_reduce")
    y = conv(y, x.shape[-1], 1, 1, gate, f"{name}_gate", act=False)
    return layers.Multiply(name=name)([x, activate(y, "hard_sigmoid", f"{name}_gate_act")])
