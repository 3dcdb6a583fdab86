"""Fractal of FractalNet, Stagewise Boosting and Taylor Series networks (Smith and Topin 2016, arXiv 1611.00847).

Seven fractal blocks, themselves joined as a fractal of three columns: B7 alone; B3 and B6; B1, B2, B4 and B5. The three
nets differ in how the columns end: their mean; a sum that freeze-drop-path trains in stages; powers, as in a series.
"""

from keras import layers

from convcraft.layers import FractalJoin, FreezeDropPath

from .blocks import conv, downsample, head, preprocess
from .design import Design
from .fractal import fractal_block
from .registry import family

# filters, how many times each column is pooled, dropout of FoF and of the other two
B1, B2, B3 = (64, 1, 0.1, 0.0), (128, 1, 0.2, 0.1), (128, 2, 0.1, 0.0)
B4, B5, B6, B7 = (256, 1, 0.3, 0.2), (512, 1, 0.3, 0.3), (512, 2, 0.3, 0.2), (512, 4, 0.0, 0.0)

VARIANTS: dict[str, dict] = {
    "fof": {"end": "mean"},
    "sbn": {"end": "boosting"},
    "tsn": {"end": "series"},
}


@family(
    VARIANTS,
    size=32,
    source="Smith, Topin: Deep Convolutional Neural Network Design Patterns, arXiv 1611.00847, and its released code",
    year=2016,
    sections={"block*": "released code"},
    paper=Design(
        activation="relu",
        normalization="batch",
        norm_position="before",
        transition="max",
        join="mean",
        conv="plain",
        conv_init="glorot_uniform",
        dropout=0.3,
        drop_path=0.15,
        pooling="flatten",
        preprocessing="paper",
    ),
    knobs="activation head_activation normalization norm_position transition join conv kernel_size conv_init "
    "dense_init kernel_regularizer kernel_constraint dropout drop_path freeze width head_layers pooling preprocessing",
    deviations="Batch normalization has a scale and an offset, and convolutions no bias; the released nets have it the "
    "other way round. The dropout of two convolutions of B4 that the released file leaves out is there. Block B7, at "
    "full resolution, makes up most of the multiply-adds; entry=64 gives it fewer channels, which a 1x1 convolution "
    "widens at its end (ours). sbn takes freeze-drop-path with the intervals 'square'; with the knob freeze, tsn is "
    "the released tsn_fdp: a sum of two branches, the second squared.",
)
def fractal_of_fractals(x, classes, design: Design, head_kind: str, *, end: str, columns: int = 3, entry: int = 512):
    """Builds the body; see the module."""
    if isinstance(entry, bool) or not isinstance(entry, int) or entry < 1:
        raise ValueError(f"fof: expected entry, a number of channels, to be a positive integer; received {entry!r}.")
    x = preprocess(x, design, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))

    def block(x, number, kind):
        filters, pools, plain, other = kind
        staged = design.freeze is not None or end == "boosting"
        rate = (other if staged else plain) * (design.dropout or 0.0) / 0.3

        def unit(x, name):
            return conv(x, filters, 3, 1, design, name, rate=rate)

        def pool(x, name):
            for step in range(1, pools + 1):
                x = downsample(x, design, f"{name}_{step}")
            return x

        dropped, joined = design.drop_path or 0.0, design.join or "mean"
        return fractal_block(x, columns, unit, f"block{number}", pool=pool, drop_path=dropped, join=joined)

    def mean(branches, name, drop_path=design.drop_path or 0.0):
        return FractalJoin(drop_path, join=design.join or "mean", global_drop_path=0.0, name=name)(branches)

    def power(x, exponent, name):
        return layers.Multiply(name=name)([x] * exponent)

    middle = mean([block(block(x, 1, B1), 2, B2), block(x, 3, B3)], "middle")
    deep = block(block(middle, 4, B4), 5, B5)
    half = block(middle, 6, B6)
    shallow = block(x, 7, (entry, *B7[1:]))
    if entry != B7[0]:  # to be joined, it needs the others' channels
        shallow = conv(shallow, B7[0], 1, 1, design, "block7_widen")
    x = _end(shallow, half, deep, end, design, mean, power)
    return head(x, classes, design, head_kind, grid=2, drop=False)  # the blocks have had theirs


def _end(shallow, half, deep, end, design, mean, power):
    freeze = design.freeze or ("square" if end == "boosting" else None)
    if end == "series" and freeze is None:
        return mean([shallow, power(half, 2, "half_squared"), power(deep, 3, "deep_cubed")], "end")
    if end == "mean":
        return mean([deep, half, shallow], "end") if freeze is None else _staged([shallow, half, deep], freeze)
    correction = mean([deep, half], "correction", drop_path=0.0)
    if end == "series":
        correction = power(correction, 2, "correction_squared")
    return _staged([shallow, correction], freeze)


def _staged(branches, freeze):
    """Each branch corrects the shallower ones; the normalization absorbs that there are more of them at inference."""
    x = FreezeDropPath(freeze, name="end")(branches)
    return layers.BatchNormalization(center=False, scale=False, momentum=0.9, name="end_norm")(x)


FoF, SBN, TSN = fractal_of_fractals
