"""All-CNN (Springenberg, Dosovitskiy, Brox, Riedmiller 2014, arXiv 1412.6806): convolutions, and nothing else.

Two stages of convolutions, each followed by a 3x3 convolution of stride 2 that halves the resolution in place of a
pooling; then a 3x3 and two of 1x1, the second with one channel a class, and the mean. A has one 5x5 kernel a stage, B a
1x1 on top of it, C two of 3x3.

`form` builds the paper's twins: "base" pools without the additional convolution, "strided" strides in the last of the
stage instead, and "convpool" has the additional convolution with stride 1, then pools: as many weights as "all".
"""

from .blocks import conv, downsample, dropout, head, preprocess, stem
from .design import Design
from .registry import family

# the kernels of a stage; the first stage has 96 channels, the second 192
VARIANTS: dict[str, dict] = {
    "all_cnn_a": {"stage": (5,)},
    "all_cnn_b": {"stage": (5, 1)},
    "all_cnn_c": {"stage": (3, 3)},
}
FORMS = ("all", "base", "strided", "convpool")


@family(
    VARIANTS,
    size=32,
    source="Springenberg, Dosovitskiy, Brox, Riedmiller: Striving for Simplicity: The All Convolutional Net, "
    "arXiv 1412.6806",
    year=2014,
    sections={"stem": "table 1", "stage*": "tables 1 and 2"},
    paper=Design(
        activation="relu",
        normalization="none",
        norm_position="before",
        conv="plain",
        conv_init="he_normal",
        dropout=0.5,
        pooling="gap",
        preprocessing="paper",
    ),
    knobs="activation normalization norm_position conv kernel_size conv_init kernel_regularizer kernel_constraint "
    "dropout width stem_width stem_stride preprocessing",
    published={"all_cnn_c": "error 7.25 % (paper, with flips and shifts)"},
    deviations="The paper normalizes contrast and whitens; here images are standardized by channel. It does not say "
    "how kernels start: here as He's. All 3x3 kernels are padded. Dropout follows each stage; at the image its rate is "
    "two fifths of that, as .2 to .5.",
)
def all_cnn(x, classes, design: Design, head_kind: str, *, stage, form: str = "all"):
    """Builds the body; see the module."""
    if form not in FORMS:
        raise ValueError(f"all_cnn: expected form to be one of {', '.join(FORMS)}, received {form!r}.")
    x = preprocess(x, design, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    x = dropout(x, design, "stem_dropout", share=0.4)
    for number, filters in enumerate((96, 192), 1):
        for index, kernel in enumerate(stage, 1):
            stride = 2 if form == "strided" and index == len(stage) else 1
            if number == index == 1:
                x = stem(x, filters, kernel, stride, design)
            else:
                x = conv(x, filters, kernel, stride, design, f"stage{number}_conv{index}")
        if form in ("all", "convpool"):
            x = conv(x, filters, 3, 2 if form == "all" else 1, design, f"stage{number}_conv{len(stage) + 1}")
        if form in ("base", "convpool"):
            x = downsample(x, design, f"pool{number}", size=3)
        x = dropout(x, design, f"dropout{number}")
    x = conv(x, 192, 3, 1, design, "stage3_conv1")
    x = conv(x, 192, 1, 1, design, "stage3_conv2")
    return head(x, classes, design, head_kind, kernel=1, drop=False)


All_CNN_A, All_CNN_B, All_CNN_C = all_cnn
