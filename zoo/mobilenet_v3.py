"""MobileNet V3 (Howard et al. 2019, arXiv 1905.02244): V2's blocks as a search found them, small and large.

Beside V2 there are 5x5 kernels, squeeze-and-excitation, and x times a clipped ramp ("hard swish", here `hard_silu`) in
the deeper layers; the last convolution comes after the mean. Same numbers as keras.applications.MobileNetV3Small and
-Large at any `Design(width=...)`. The forms for small images leave out the first two halvings.
"""

from dataclasses import replace

from .blocks import conv, head, preprocess
from .design import Design
from .mobile import NORM, divisible, inverted_residual
from .registry import family

# tables 1 and 2: kernel, channels inside, channels out, squeeze-and-excitation, activation, stride
LARGE = [
    (3, 16, 16, False, "RE", 1),
    (3, 64, 24, False, "RE", 2),
    (3, 72, 24, False, "RE", 1),
    (5, 72, 40, True, "RE", 2),
    (5, 120, 40, True, "RE", 1),
    (5, 120, 40, True, "RE", 1),
    (3, 240, 80, False, "HS", 2),
    (3, 200, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 480, 112, True, "HS", 1),
    (3, 672, 112, True, "HS", 1),
    (5, 672, 160, True, "HS", 2),
    (5, 960, 160, True, "HS", 1),
    (5, 960, 160, True, "HS", 1),
]
SMALL = [
    (3, 16, 16, True, "RE", 2),
    (3, 72, 24, False, "RE", 2),
    (3, 88, 24, False, "RE", 1),
    (5, 96, 40, True, "HS", 2),
    (5, 240, 40, True, "HS", 1),
    (5, 240, 40, True, "HS", 1),
    (5, 120, 48, True, "HS", 1),
    (5, 144, 48, True, "HS", 1),
    (5, 288, 96, True, "HS", 2),
    (5, 576, 96, True, "HS", 1),
    (5, 576, 96, True, "HS", 1),
]
STEM = 16
SIZES: dict[str, dict] = {
    "small": {"rows": SMALL, "last": 1024, "entry": 2},
    "large": {"rows": LARGE, "last": 1280, "entry": 2},
}
VARIANTS: dict[str, dict] = {
    "mobilenet_v3_small": SIZES["small"],
    "mobilenet_v3_small_cifar": {**SIZES["small"], "entry": 1, "size": 32},
    "mobilenet_v3_large": SIZES["large"],
    "mobilenet_v3_large_cifar": {**SIZES["large"], "entry": 1, "size": 32},
}


@family(
    VARIANTS,
    source="Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam: Searching for MobileNetV3, "
    "arXiv 1905.02244",
    year=2019,
    sections={"last": "section 5.1", "*": "tables 1 and 2"},
    paper=Design(
        activation="hard_silu",
        head_activation="hard_silu",
        normalization="batch",
        norm_position="before",
        join="sum",
        dropout=0.2,
        preprocessing="paper",
        pooling="gap",
    ),
    knobs="activation head_activation normalization norm_position join kernel_size conv_init dense_init "
    "kernel_regularizer kernel_constraint dropout dropout_min_units drop_path width stem_width stem_stride head_layers "
    "pooling preprocessing",
    published={"mobilenet_v3_small": "top-1 67.6 % (timm)", "mobilenet_v3_large": "top-1 75.8 % (timm)"},
    deviations="As in keras.applications, `width` leaves the stem's 16 channels, and the last dense layer does not "
    "narrow; head_layers=() leaves that layer out. In the first blocks hard_silu is relu; any other activation holds "
    "everywhere. The forms that end in _cifar are ours: the paper has none for small images.",
)
def mobilenet_v3(x, classes, design: Design, head_kind: str, *, rows: list, last: int, entry: int):
    """Builds the body; see the module."""
    width, design = design.width or 1, replace(design, width=None)  # rounded here, to multiples of eight
    if design.head_layers is None:
        design = replace(design, head_layers=(divisible(last * max(width, 1)),))
    early = replace(design, activation="relu") if design.activation == "hard_silu" else design
    x = preprocess(x, design, mean=(123.7, 116.8, 103.9), std=(58.4, 57.1, 57.4), squeeze=True)
    first = design.stem_stride or entry
    x = conv(x, design.stem_width or STEM, 3, first, design, "stem", padding="keras", norm=NORM)
    before = STEM
    for number, (kernel, inside, filters, excite, kind, stride) in enumerate(rows, 1):
        wide = divisible(x.shape[-1] * (inside / before))
        x = inverted_residual(
            x,
            wide if number > 1 else None,
            divisible(filters * width),
            kernel,
            entry if stride == 2 and number <= 2 else stride,
            early if kind == "RE" else design,
            f"block{number}",
            excite=divisible(wide / 4) if excite else None,
            depth=number / len(rows),
        )
        before = filters
    x = conv(x, divisible(6 * x.shape[-1]), 1, 1, design, "last", norm=NORM)
    return head(x, classes, design, head_kind)


MobileNet_V3_Small, MobileNet_V3_Small_CIFAR, MobileNet_V3_Large, MobileNet_V3_Large_CIFAR = mobilenet_v3
