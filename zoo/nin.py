"""Network in network (Lin, Chen, Yan 2013, arXiv 1312.4400): 1x1 kernels between the others, no dense layer.

Each stage is a convolution and two of 1x1 on top of it, a small network slid over the image; the last ends in one
channel a class, which global average pooling turns into logits.

As in the authors' Caffe files, max pooling rounds sizes up, and the classifier's outputs pass a ReLU.
"""

from .blocks import conv, dropout, head, preprocess, stem
from .design import Design
from .registry import family

# The first kernel's (stride, padding), then the stages: the kernel's size, the widths, and the pooling that follows,
# with "drop" where dropout does. The last stage's third convolution is the classifier.
VARIANTS: dict[str, dict] = {
    "nin": {
        "entry": (4, "valid"),
        "stages": [
            (11, (96, 96, 96), "max"),
            (5, (256, 256, 256), "max"),
            (3, (384, 384, 384), "max drop"),
            (3, (1024, 1024), ""),
        ],
        "colours": {"mean": (123.68, 116.779, 103.939), "std": (58.395, 57.12, 57.375), "divide": False},
    },
    "nin_cifar": {
        "entry": (1, "same"),
        "stages": [(5, (192, 160, 96), "max drop"), (5, (192, 192, 192), "avg drop"), (3, (192, 192), "")],
        "colours": {"mean": (125.3, 123.0, 113.9), "std": (63.0, 62.1, 66.7)},
        "size": 32,
        "paper": Design(conv_init="he_normal"),
    },
}


@family(
    VARIANTS,
    source="Lin, Chen, Yan: Network In Network, arXiv 1312.4400",
    year=2013,
    sections={"stem": "section 3.1", "stage*": "section 3.1", "head": "section 3.2"},
    paper=Design(
        activation="relu",
        normalization="none",
        norm_position="before",
        pool_position="after",
        conv="plain",
        dropout=0.5,
        pooling="gap",
        preprocessing="paper",
    ),
    knobs="activation normalization norm_position pool_position transition conv kernel_size conv_init "
    "kernel_regularizer kernel_constraint dropout width stem_width stem_stride preprocessing",
    published={"nin_cifar": "error 7.43 % (pytorchcv)"},
    deviations="Kernels start as Glorot's, those for small images as He's. For small images the paper normalizes "
    "contrast and whitens; here they are standardized by channel. transition replaces every pooling: nin_cifar has max "
    "pooling, then average.",
)
def nin(x, classes, design: Design, head_kind: str, *, entry, stages, colours):
    """Builds the body; see the module."""
    x = preprocess(x, design, **colours)
    for stage, (kernel, widths, after) in enumerate(stages, 1):
        for number, filters in enumerate(widths, 1):
            pool = None
            if after and number == len(widths):
                pool = {"name": f"pool{stage}", "size": 3, "ceil": True, "usual": after.split()[0]}
            if stage == number == 1:
                stride, padding = entry
                x = stem(x, filters, kernel, stride, design, padding=padding, pool=pool)
            else:
                x = conv(x, filters, kernel if number == 1 else 1, 1, design, f"stage{stage}_conv{number}", pool=pool)
        x = dropout(x, design, f"dropout{stage}") if "drop" in after else x
    return head(x, classes, design, head_kind, kernel=1, drop=False)


NIN, NIN_CIFAR = nin
