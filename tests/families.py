"""A small model of each family, for tests that hold all of them to the same."""

import keras
from harness import draw, unlisted

from convcraft import zoo

# one small model a family and the side of its image
QUICK = {"squeezenet_cifar": 16}
OTHERS = {
    "resnet20_cifar": 16,
    "alexnet_2012": 99,
    "vgg_cifar": 32,
    "nin_cifar": 16,
    "all_cnn_c": 16,
    "plain_cnn": 16,
    "resnet18": 32,
    "resnet50_v1": 32,
    "resnet50_v2": 32,
    "resnet20_cifar_v2": 16,
    "resnet_in_resnet": 16,
    "wide_resnet16_4": 16,
    "fractalnet20": 32,
    "fof": 32,
    "googlenet_cifar": 16,
    "inception_v3": 139,
    "mobilenet_v1_cifar": 16,
    "mobilenet_v2_cifar": 16,
    "mobilenet_v3_small_cifar": 16,
    "maxout_cifar": 32,
    "competitive_cifar": 16,
    "fcn8s": 32,
    "water_unet": 32,
}
OTHERS |= {name: min(64, zoo.info(name).input_shape[0]) for name in unlisted({**QUICK, **OTHERS})}
SIDES = {**QUICK, **OTHERS}


# random weights grow so much in these that rounding shows, and float16 ends: see `settle`
UNSETTLED = ("resnet50_v1", "resnet50_v2")


def settle(model):
    """Gives a model the moving statistics of its own maps; of 64 pixels or more, for a mean needs several."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    model(draw((8, *model.input_shape[1:]), low=0, high=255, seed=1), training=True)
    for layer in norms:
        layer.momentum = 0.9


def make(name, side, channels=3, **options):
    """A narrow model without dropout, whose outputs no ReLU cuts. Other backends' processes get this as text."""
    knobs = {"width": 0.25, "dropout": 0.0}
    if name.startswith("fcn"):
        knobs["head_layers"] = (16, 16)
    knobs = {knob: value for knob, value in knobs.items() if knob in zoo.info(name).knobs}
    options = {
        "classes": 3,
        "head": "multilabel",
        "input_shape": (side, side, channels),
        "design": zoo.Design(**knobs),
        **options,
    }
    return zoo.create(name, **options)
