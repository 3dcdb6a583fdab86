"""FCN (Long, Shelhamer, Darrell 2014, arXiv 1411.4038): VGG-16 that classifies every pixel.

The dense layers of VGG-16 become convolutions, a 1x1 convolution scores the classes on their coarse map, and fixed
bilinear interpolation brings the scores back to the pixels of the image. FCN-16s adds the scores of the fourth
pooling's map on the way, FCN-8s those of the third, too: sums of scores, not concatenated features.

Layers bear VGG-16's names, so that its weights can be copied, those of the dense layers by reshape. The new scores
start at zero, as in the paper.
"""

from keras import layers

from convcraft.layers import BilinearUpsampling2D, CropLike

from .blocks import dense, dropout, kernels_of, named, number_of, preprocess
from .design import Design
from .registry import family
from .vgg import IMAGENET, convolutions
from .vgg import VARIANTS as VGG

# the skips: name of the pooling, its factor where all are trained at once, and how far the paper's crop moves it
SKIPS = [("pool4", 1e-2, 5), ("pool3", 1e-4, 9)]
# with the paper's padding: how many of its pixels the scores do not reach, by the stride of the last map
BORDERS = {32: 81, 16: 73, 8: 69}
VARIANTS: dict[str, dict] = {"fcn32s": {"stride": 32}, "fcn16s": {"stride": 16}, "fcn8s": {"stride": 8}}


@family(
    VARIANTS,
    classes=21,
    source="Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, arXiv 1411.4038",
    year=2014,
    sections={"score*": "section 4.2", "head": "section 4.1"},
    paper=Design(
        activation="relu",
        head_activation="relu",
        normalization="none",
        norm_position="before",
        pool_position="after",
        transition="max",
        conv="plain",
        dropout=0.5,
        width_schedule="pyramid",
        head_layers=(4096, 4096),
        preprocessing="paper",
    ),
    knobs="activation head_activation normalization norm_position pool_position transition conv kernel_size conv_init "
    "dense_init kernel_regularizer kernel_constraint dropout dropout_min_units width width_schedule stem_width depth "
    "head_layers preprocessing",
    published={
        "fcn32s": "mean IU 63.6 % (PASCAL VOC, seg11valid, the authors')",
        "fcn16s": "mean IU 65.0 % (PASCAL VOC, seg11valid, the authors')",
        "fcn8s": "mean IU 65.5 % (PASCAL VOC, seg11valid, the authors')",
    },
    deviations="The authors pad images with 100 black pixels, so that small ones suffice for the 7x7 kernels, and crop "
    "the scores; pad=100 does so. Without, every convolution is padded to keep its size, and the scores at the border "
    "are repeated, not faded: less to compute, and the same weights. at_once=True scales the skips' inputs (.01 and "
    ".0001), as the authors' variant that trains all of them together.",
)
def fcn(x, classes, design: Design, head_kind: str, *, stride, pad: int = 0, at_once: bool = False):
    """Builds the body; see the module."""
    _check(stride, pad, at_once, design)
    images = x
    x = preprocess(x, design, **IMAGENET)
    if pad:  # the first convolution pads one more
        x = layers.ZeroPadding2D(pad - 1, name="pad")(x)
    *_, pool3, pool4, x = convolutions(x, VGG["vgg16"]["stages"], design, padding="same")
    if design.head_layers and not pad:
        x = layers.ZeroPadding2D(3, name="head_pad")(x)
    for number, units in enumerate(design.head_layers or (), 1):
        x = dense(x, units, design, f"head_dense{number}", grid=7 if number == 1 else None)
    if not design.head_layers:
        x = dropout(x, design, "head_dropout", x.shape[-1])
    if head_kind == "none":
        return x

    def score(x, name):
        kernels = kernels_of(design, design.conv_init, "zeros")
        return layers.Conv2D(number_of(classes), 1, name=name, **kernels)(x)

    def enlarge(x, factor, name):
        padding, edges = ("valid", "zero") if pad else ("same", "repeat")
        return BilinearUpsampling2D(factor, padding, edges, name=name)(x)

    x = score(x, "score")
    skips = [skip for skip, reached in zip(SKIPS, (16, 8), strict=True) if stride <= reached]
    for skip, (name, factor, offset) in zip((pool4, pool3), skips, strict=False):
        x = enlarge(x, 2, f"score_{name}_up")
        if at_once:
            skip = layers.Rescaling(factor, name=f"{name}_scale")(skip)
        skip = score(skip, f"score_{name}")
        if pad:
            skip = CropLike(offset, name=f"score_{name}_crop")([skip, x])
        else:  # a map of odd size was rounded up
            x = CropLike(name=f"score_{name}_crop")([x, skip])
        x = layers.Add(name=f"score_{name}_sum")([x, skip])
    x = enlarge(x, stride, "score_up")
    x = CropLike(pad - BORDERS[stride] if pad else 0, name="score_crop")([x, images])
    return named(x, classes, head_kind)


def _check(stride, pad, at_once, design):
    model = f"fcn{stride}s"
    if pad not in (0, 100) or isinstance(pad, bool):
        raise ValueError(f"{model}: expected pad to be 0 or, as in the paper, 100, received {pad!r}.")
    if pad and not design.head_layers:
        raise ValueError(f"{model}: expected head_layers for pad=100: its crops are those of the 7x7 kernels.")
    if not isinstance(at_once, bool):
        raise ValueError(f"{model}: expected at_once to be True or False, received {at_once!r}.")
    if at_once and stride == 32:
        raise ValueError("fcn32s: expected at_once=False: it has no skips to scale.")


FCN32s, FCN16s, FCN8s = fcn
