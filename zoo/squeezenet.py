"""SqueezeNet (Iandola et al. 2016, arXiv 1602.07360): AlexNet's accuracy with a fiftieth of its weights.

Fire modules squeeze to few channels with 1x1 kernels, then expand with 1x1 and 3x3 kernels side by side. 1.1 is the
authors' later release: as accurate for 2.4 times fewer multiply-adds. The form for small images keeps 1.1's fires
and drops its first pooling and the stem's stride.

As in the authors' Caffe files, pooling rounds sizes up and the stem is not padded.
"""

from keras import layers

from .blocks import conv, downsample, head, preprocess, stem
from .design import Design
from .registry import family

# The stem is (filters, kernel, stride); a pair is a fire's (squeeze, expand); "/2" halves the resolution.
VARIANTS = {
    "squeezenet1_0": {
        "entry": (96, 7, 2),
        "stages": ["/2", (16, 64), (16, 64), (32, 128), "/2", (32, 128), (48, 192), (48, 192), (64, 256), "/2", (64, 256)],
    },
    "squeezenet1_1": {
        "entry": (64, 3, 2),
        "stages": ["/2", (16, 64), (16, 64), "/2", (32, 128), (32, 128), "/2", (48, 192), (48, 192), (64, 256), (64, 256)],
    },
    "squeezenet_cifar": {
        "entry": (64, 3, 1),
        "stages": [(16, 64), (16, 64), "/2", (32, 128), (32, 128), "/2", (48, 192), (48, 192), (64, 256), (64, 256)],
        "size": 32,
    },
}


@family(
    VARIANTS,
    source="Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer: SqueezeNet, arXiv 1602.07360",
    year=2016,
    paper=Design(
        activation="relu", normalization="none", transition="max", dropout=0.5, preprocessing="paper",
        norm_position="before", pool_position="after", conv="plain",
    ),
    knobs="activation normalization norm_position transition conv kernel_size conv_init kernel_regularizer "
    "kernel_constraint dropout width stem_width stem_stride preprocessing",
    published={"squeezenet1_1": "top-1 58.2 % (torchvision)", "squeezenet1_0": "top-1 58.1 % (torchvision)"},
    deviations="squeezenet_cifar is ours: the paper has no form for small images.",
)
def squeezenet(x, classes, design, head_kind, *, entry, stages):
    """Builds the body; see the module."""
    x = preprocess(x, design, mean=(123.0, 117.0, 104.0))  # Caffe's BGR 104, 117, 123
    padding = "same" if entry[2] == 1 else "valid"
    x = stem(x, *entry, design, padding=padding)
    fires, pools = 1, 0  # the paper counts the stem as the first layer
    for stage in stages:
        if stage == "/2":
            pools += 1
            x = downsample(x, design, name=f"pool{pools}", size=3, ceil=True)
        else:
            fires += 1
            x = fire(x, *stage, design, name=f"fire{fires}")
    return head(x, classes, design, head_kind, kernel=1)


def fire(x, squeeze, expand, design, name):
    """Squeeze to `squeeze` channels, expand to twice `expand`."""
    x = conv(x, squeeze, 1, 1, design, name=f"{name}_squeeze")
    wide = conv(x, expand, 1, 1, design, name=f"{name}_expand1x1")
    high = conv(x, expand, 3, 1, design, name=f"{name}_expand3x3")
    return layers.Concatenate(name=f"{name}_concat")([wide, high])


SqueezeNet1_0, SqueezeNet1_1, SqueezeNet_CIFAR = squeezenet
