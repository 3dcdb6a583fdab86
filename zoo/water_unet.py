"""DeepWaterMapV2 (Isikdogan, Bovik, Passalacqua 2019): an encoder-decoder that finds water in satellite images.

The encoder halves the resolution four times with 5x5 kernels and quadruples the channels; the decoder turns channels
back into pixels. Skips of both kinds are sums: within each unit, of its two convolutions, and from each resolution of
the encoder to the decoder.

Any number of bands, any size of images; one class by default, whose logit a sigmoid makes the probability of water.
"""

import dataclasses

from keras import layers

from convcraft.layers import CropLike, DepthToSpace

from .blocks import Tensor, conv, drop_path, dropout, join, named, number_of, preprocess, scaled
from .design import Design
from .registry import family

VARIANTS: dict[str, dict] = {"water_unet": {}}
STEM, STEPS = 4, 4  # channels at the image's resolution; how often it is halved
NORM = {"epsilon": 1e-3}


@family(
    VARIANTS,
    size=512,
    classes=1,
    channels=6,
    source="Isikdogan, Bovik, Passalacqua: Seeing Through the Clouds with DeepWaterMap, IEEE Geoscience and Remote "
    "Sensing Letters 2019",
    year=2019,
    paper=Design(
        activation="relu",
        normalization="batch",
        norm_position="before",
        join="sum",
        conv="plain",
        conv_init="he_uniform",
        dropout=0.0,
        drop_path=0.0,
        preprocessing="paper",
    ),
    knobs="activation normalization norm_position join conv kernel_size conv_init kernel_regularizer kernel_constraint "
    "dropout drop_path width stem_width preprocessing",
    deviations="The sigmoid is left to the loss. Images are divided by 255, as in the authors' training; their script "
    "for inference stretches each image to 0-1 first. Where a size is not a multiple of 16, it is rounded up at every "
    "halving, and cut back: theirs mirrors the image to a multiple of 32. Batch normalization's momentum is .9, theirs "
    ".99.",
)
def water_unet(x, classes, design: Design, head_kind: str):
    """Builds the body; see the module."""
    x = preprocess(x, design, mean=(0.0,), std=(255.0,))
    width = design.stem_width or STEM
    width = scaled(width, design)
    design = dataclasses.replace(design, width=None)  # all others are multiples of this one
    x = conv(x, width, 1, 1, design, "stem", act=False, norm=NORM)
    skips = [x]
    for step in range(1, STEPS + 1):
        width *= 4
        # at the same places whether the size is even or odd; there Keras's "same" would move by a pixel
        x = layers.ZeroPadding2D(((1, 3), (1, 3)), name=f"down{step}_conv1_pad")(x)
        x = conv(x, width, 5, 2, design, f"down{step}_conv1", padding="valid", norm=NORM)
        x = _residual(x, width, design, f"down{step}", depth=step / (2 * STEPS + 1))
        skips.append(x)
    x = conv(x, width, 3, 1, design, "middle_conv1", norm=NORM)
    x = _residual(x, width, design, "middle", depth=(STEPS + 1) / (2 * STEPS + 1))
    for step in range(STEPS, 0, -1):
        width //= 4
        x = join([x, skips.pop()], design, f"up{step}_skip")
        x = DepthToSpace(2, name=f"up{step}_pixels")(x)
        x = CropLike(name=f"up{step}_crop")([x, skips[-1]])  # of an odd size, which was rounded up
        x = conv(x, width, 3, 1, design, f"up{step}_conv1", norm=NORM)
        x = _residual(x, width, design, f"up{step}", depth=(2 * STEPS + 2 - step) / (2 * STEPS + 1))
    x = join([x, skips.pop()], design, "last_skip")
    if head_kind == "none":
        return x
    x = dropout(x, design, "head_dropout", x.shape[-1])
    x = conv(x, number_of(classes), 1, 1, design, "head", act=False, norm=NORM)
    return named(x, classes, head_kind)


def _residual(x: Tensor, width: int, design: Design, name: str, depth: float) -> Tensor:
    """A convolution, and the sum with what it was made of."""
    branch = conv(x, width, 3, 1, design, f"{name}_conv2", norm=NORM)
    return join([x, drop_path(branch, design, f"{name}_drop", depth)], design, f"{name}_join")


(Water_UNet,) = water_unet
