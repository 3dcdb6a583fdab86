"""SqueezeNet (Iandola et al. 2016, arXiv 1602.07360): AlexNet's accuracy with a fiftieth of its weights.

Fire modules squeeze to few channels with 1x1 kernels, then expand with 1x1 and 3x3 kernels side by side. 1.1 is the
authors' later release, as accurate for 2.3 times fewer multiply-adds (`zoo.cost`). The form for small images has the
fires of 1.1, and leaves out its first pooling and the stem's stride.

As in the authors' Caffe files, pooling rounds sizes up and the stem is not padded.
"""

import dataclasses
from typing import Any

from .blocks import Tensor, conv, downsample, fire, head, join, preprocess, stem
from .design import Design
from .registry import family

# The stem is (filters, kernel, stride). A row of fires stands for one resolution and gives the channels that each
# squeezes to; it expands to four times as many with each of its two kernels.
VARIANTS: dict[str, dict] = {
    "squeezenet1_0": {"entry": (96, 7, 2), "fires": [(16, 16, 32), (32, 48, 48, 64), (64,)]},
    "squeezenet1_1": {"entry": (64, 3, 2), "fires": [(16, 16), (32, 32), (48, 48, 64, 64)]},
    "squeezenet_cifar": {"entry": (64, 3, 1), "fires": [(16, 16), (32, 32), (48, 48, 64, 64)], "size": 32},
}


@family(
    VARIANTS,
    source="Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer: SqueezeNet, arXiv 1602.07360",
    year=2016,
    sections={"fire*": "section 3.2, table 1", "*": "table 1"},
    paper=Design(
        activation="relu",
        normalization="none",
        transition="max",
        dropout=0.5,
        preprocessing="paper",
        norm_position="before",
        pool_position="after",
        conv="plain",
    ),
    knobs="activation normalization norm_position pool_position transition conv kernel_size conv_init "
    "kernel_regularizer kernel_constraint dropout width stem_width stem_stride preprocessing",
    published={"squeezenet1_1": "top-1 58.2 % (torchvision)", "squeezenet1_0": "top-1 58.1 % (torchvision)"},
    deviations="squeezenet_cifar is ours: the paper has no form for small images. The 1x1 classifier of 1.0 is not "
    "padded; in the authors' Caffe file it is, which only mixes its bias into the average. bypass='simple' adds its "
    "input to each fire that keeps the number of channels (3, 5, 7 and 9), bypass='complex' also to the others, by a "
    "1x1 convolution (section 6, figure 2). pool_position='before' pools each of a fire's two kinds of kernel by "
    "itself, before the activation.",
)
def squeezenet(x, classes, design: Design, head_kind: str, *, entry, fires, bypass: str = "none"):
    """Builds the body; see the module."""
    if bypass not in ("none", "simple", "complex"):
        raise ValueError(f"squeezenet: expected bypass to be 'none', 'simple' or 'complex', received {bypass!r}.")
    filters, kernel, stride = entry
    small = stride == 1  # keeps the borders, and the resolution up to the second row
    early = design.pool_position == "before"  # then a fire's two kinds of kernel are pooled before they meet
    if early and bypass != "none":
        raise ValueError("squeezenet: expected bypass='none' with pool_position='before', where a fire ends pooled.")
    pool: dict[str, Any] = {"size": 3, "ceil": True}
    x = preprocess(x, design, mean=(123.0, 117.0, 104.0), std=(58.4, 57.1, 57.4), divide=False)
    first = None if small else {"name": "pool1", **pool}
    x = stem(x, filters, kernel, stride, design, padding="same" if small else "valid", pool=first)
    number = 1  # the paper counts the stem as the first layer
    for row, widths in enumerate(fires, 1):
        if row > 1 and not early:
            x = downsample(x, design, name=f"pool{row}", **pool)
        for index, squeeze in enumerate(widths, 1):
            number += 1
            ends = early and index == len(widths) and row < len(fires)
            y = fire(x, squeeze, 4 * squeeze, design, name=f"fire{number}", pool=pool if ends else None)
            x = _bypassed(x, y, design, f"fire{number}_bypass", bypass)
    return head(x, classes, design, head_kind, kernel=1)


def _bypassed(x: Tensor, y: Tensor, design: Design, name: str, bypass: str) -> Tensor:
    """A fire's output `y`, and where there is a bypass the sum with its input `x`."""
    grows = x.shape[-1] != y.shape[-1]
    if bypass == "none" or (grows and bypass == "simple"):
        return y
    if grows:
        exact = dataclasses.replace(design, width=None)  # as many channels as come out of the fire
        x = conv(x, y.shape[-1], 1, 1, exact, f"{name}_conv", act=False)
    return join([x, y], design, name)


SqueezeNet1_0, SqueezeNet1_1, SqueezeNet_CIFAR = squeezenet
