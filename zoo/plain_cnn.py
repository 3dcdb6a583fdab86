"""A plain network: 3x3 kernels, 32 filters first and doubled after each pooling, then the mean and a classifier.

The sanity baseline: what a new idea, a new data set or a new recipe is compared with before anything deeper. It has the
pyramid shape that Smith and Topin found in most successful networks (arXiv 1611.00847, pattern 5), and nothing else.
"""

from .blocks import by_schedule, conv, head, preprocess, stem
from .design import Design
from .registry import family

VARIANTS: dict[str, dict] = {"plain_cnn": {}}


@family(
    VARIANTS,
    size=32,
    source="Ours, after Smith, Topin: Deep Convolutional Neural Network Design Patterns, arXiv 1611.00847",
    year=2016,
    paper=Design(
        activation="relu",
        normalization="none",
        norm_position="before",
        pool_position="after",
        transition="max",
        conv="plain",
        depth=1,
        width_schedule="pyramid",
        pooling="gap",
        preprocessing="paper",
    ),
    knobs="activation head_activation normalization norm_position pool_position transition conv kernel_size conv_init "
    "dense_init kernel_regularizer kernel_constraint dropout dropout_min_units width width_schedule stem_width "
    "stem_stride depth head_layers pooling preprocessing",
    deviations="Not a published network. Each stage has one convolution, more with the knob depth; the options stages "
    "and filters replace the four stages and the 32 filters of the first.",
)
def plain_cnn(x, classes, design: Design, head_kind: str, *, stages: int = 4, filters: int = 32):
    """Builds the body; see the module."""
    for name, value in (("stages", stages), ("filters", filters)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"plain_cnn: expected {name} to be a positive integer, received {value!r}.")
    x = preprocess(x, design, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    depth = design.depth or 1
    widths = by_schedule([filters * 2**stage for stage in range(stages)], design)
    for stage, wide in enumerate(widths, 1):
        for number in range(1, depth + 1):
            pool = {"name": f"pool{stage}"} if number == depth else None
            if stage == number == 1:
                x = stem(x, wide, 3, 1, design, pool=pool)
            else:
                x = conv(x, wide, 3, 1, design, f"stage{stage}_conv{number}", pool=pool)
    return head(x, classes, design, head_kind)


(Plain_CNN,) = plain_cnn
