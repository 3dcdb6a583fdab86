"""Maxout network (Goodfellow, Warde-Farley, Mirza, Courville, Bengio 2013, arXiv 1302.4389): it learns its activations.

Each unit is the maximum of several linear maps: two in the three convolutions, each of which is followed by max
pooling, and five in the one dense layer. Dropout everywhere, which maxout was made for, and a bound on the norm of each
filter.
"""

import dataclasses

from keras import initializers, layers

from convcraft.layers import MaxNorm

from .blocks import conv, dropout, head, preprocess, stem
from .design import Design
from .registry import family

VARIANTS: dict[str, dict] = {"maxout_cifar": {}}
# filters, kernel, padding on each side, and the window of the pooling, whose stride is 2
STAGES = [(96, 8, 4, 4), (192, 8, 3, 4), (192, 5, 3, 2)]
START = initializers.RandomUniform(-0.005, 0.005)
BOUND, FIRST_BOUND = MaxNorm(1.9365), MaxNorm(0.9)


@family(
    VARIANTS,
    size=32,
    source="Goodfellow, Warde-Farley, Mirza, Courville, Bengio: Maxout Networks, arXiv 1302.4389",
    year=2013,
    sections={"*": "section 5.2"},
    paper=Design(
        activation="maxout",
        head_activation="maxout5",
        normalization="none",
        norm_position="before",
        pool_position="after",
        transition="max",
        conv="plain",
        conv_init=START,
        dense_init=START,
        kernel_constraint=BOUND,
        dropout=0.5,
        head_layers=(500,),
        pooling="flatten",
        preprocessing="paper",
    ),
    knobs="activation head_activation normalization norm_position pool_position transition conv conv_init dense_init "
    "kernel_regularizer kernel_constraint dropout dropout_min_units width stem_width stem_stride head_layers pooling "
    "preprocessing",
    published={"maxout_cifar": "error 11.68 %, with flips and shifts 9.38 % (paper)"},
    deviations="The paper's text gives the number and the kinds of layers; their sizes, the first weights, the bounds "
    "and the rates of dropout are those of the authors' configuration (pylearn2, cifar10.yaml), and the published "
    "errors are from memory. Poolings round sizes up, as cuda-convnet's do. The paper normalizes contrast and whitens; "
    "here images are standardized by channel. The dense layer's bound is the others' 1.9365, theirs 1.9. In training "
    "the authors do not scale the image up for its dropout, whose rate is two fifths of the others'; and they slow "
    "down the convolutions twentyfold, which is a matter for the optimizer.",
)
def maxout_network(x, classes, design: Design, head_kind: str):
    """Builds the body; see the module."""
    x = preprocess(x, design, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    x = dropout(x, design, "stem_dropout", share=0.4)
    for stage, (filters, kernel, padding, window) in enumerate(STAGES, 1):
        name = "stem" if stage == 1 else f"conv{stage}"
        pool = {"name": f"pool{stage}", "size": window, "ceil": True}
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
        if stage == 1:
            own = design.kernel_constraint is not BOUND
            first = design if own else dataclasses.replace(design, kernel_constraint=FIRST_BOUND)
            x = stem(x, filters, kernel, 1, first, padding="valid", pool=pool)
        else:
            x = conv(x, filters, kernel, 1, design, name, padding="valid", pool=pool)
        x = dropout(x, design, f"dropout{stage}")
    return head(x, classes, design, head_kind, grid=5, drop=False)


(Maxout_CIFAR,) = maxout_network
