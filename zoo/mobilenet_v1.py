"""MobileNet V1 (Howard et al. 2017, arXiv 1704.04861): depthwise separable convolutions instead of full ones.

A 3x3 stem, then thirteen pairs of a 3x3 convolution with one kernel a channel and a 1x1 convolution that mixes the
channels: about a ninth of the work of 3x3 convolutions as wide. `Design(width=0.25)` is the paper's width multiplier.
Same numbers as keras.applications.MobileNet, which pads at the end where the resolution halves. The form for small
images leaves out the first two halvings, so that 32x32 pixels end as 4x4.
"""

from dataclasses import replace

from .blocks import conv, depthwise, head, preprocess
from .design import Design
from .registry import family

# (filters, stride) of each pair, after a stem of 32 filters
PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
VARIANTS: dict[str, dict] = {
    "mobilenet_v1": {"entry": 2, "pairs": PAIRS},
    "mobilenet_v1_cifar": {"entry": 1, "pairs": [(64, 1), (128, 1), *PAIRS[2:]], "size": 32},
}
NORM = {"epsilon": 1e-3}


@family(
    VARIANTS,
    source="Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam: MobileNets: Efficient Convolutional "
    "Neural Networks for Mobile Vision Applications, arXiv 1704.04861",
    year=2017,
    sections={"block*": "section 3.1, table 1", "*": "table 1"},
    paper=Design(
        activation="relu6",
        normalization="batch",
        norm_position="before",
        dropout=0.001,
        preprocessing="paper",
        pooling="gap",
    ),
    knobs="activation head_activation normalization norm_position kernel_size conv_init dense_init kernel_regularizer "
    "kernel_constraint dropout dropout_min_units width stem_width stem_stride head_layers pooling preprocessing",
    published={"mobilenet_v1": "top-1 70.4 % (keras.applications)"},
    deviations="ReLU6 and a dropout of .001, as in the authors' code. mobilenet_v1_cifar is ours: the paper has no "
    "form for small images.",
)
def mobilenet_v1(x, classes, design: Design, head_kind: str, *, entry: int, pairs: list[tuple[int, int]]):
    """Builds the body; see the module."""
    width, design = design.width or 1, replace(design, width=None)  # cut off where `blocks` would round

    def channels(number: int) -> int:
        return max(1, int(number * width))

    x = preprocess(x, design, mean=(123.7, 116.8, 103.9), std=(58.4, 57.1, 57.4), squeeze=True)
    entry = design.stem_stride or entry
    x = conv(x, channels(design.stem_width or 32), 3, entry, design, "stem", padding="keras", norm=NORM)
    for number, (filters, stride) in enumerate(pairs, 1):
        name = f"block{number}"
        x = depthwise(x, 3, stride, design, f"{name}_depthwise", padding="end", norm=NORM)
        x = conv(x, channels(filters), 1, 1, design, name, norm=NORM)
    return head(x, classes, design, head_kind)


MobileNet_V1, MobileNet_V1_CIFAR = mobilenet_v1
