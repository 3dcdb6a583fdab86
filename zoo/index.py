"""The models by name, readable without Keras: the command line lists them from here."""

import difflib
import fnmatch

from .downloads import names_of

# Public builder: the module that holds its family. A model's name is its builder's, in lower case.
BUILDERS: dict[str, str | None] = {
    "AlexNet_2012": "alexnet",
    "AlexNet": "alexnet",
    "AlexNet_CIFAR": "alexnet",
    "VGG11": "vgg",
    "VGG13": "vgg",
    "VGG16": "vgg",
    "VGG19": "vgg",
    "VGG11_BN": "vgg",
    "VGG13_BN": "vgg",
    "VGG16_BN": "vgg",
    "VGG19_BN": "vgg",
    "VGG_CIFAR": "vgg",
    "NIN": "nin",
    "NIN_CIFAR": "nin",
    "All_CNN_A": "all_cnn",
    "All_CNN_B": "all_cnn",
    "All_CNN_C": "all_cnn",
    "Plain_CNN": "plain_cnn",
    "ResNet18": "resnet",
    "ResNet34": "resnet",
    "ResNet50": "resnet",
    "ResNet101": "resnet",
    "ResNet152": "resnet",
    "ResNet50_V1": "resnet_v1",
    "ResNet101_V1": "resnet_v1",
    "ResNet152_V1": "resnet_v1",
    "ResNet50_V2": "resnet_v2",
    "ResNet101_V2": "resnet_v2",
    "ResNet152_V2": "resnet_v2",
    "ResNet20_CIFAR": "resnet_cifar",
    "ResNet32_CIFAR": "resnet_cifar",
    "ResNet44_CIFAR": "resnet_cifar",
    "ResNet56_CIFAR": "resnet_cifar",
    "ResNet110_CIFAR": "resnet_cifar",
    "ResNet20_CIFAR_V2": "resnet_cifar_v2",
    "ResNet32_CIFAR_V2": "resnet_cifar_v2",
    "ResNet44_CIFAR_V2": "resnet_cifar_v2",
    "ResNet56_CIFAR_V2": "resnet_cifar_v2",
    "ResNet110_CIFAR_V2": "resnet_cifar_v2",
    "ResNet_In_ResNet": "resnet_in_resnet",
    "Wide_ResNet28_10": "wide_resnet",
    "Wide_ResNet16_4": "wide_resnet",
    "FractalNet20": "fractalnet",
    "FractalNet40": "fractalnet",
    "FoF": "fractal_of_fractals",
    "SBN": "fractal_of_fractals",
    "TSN": "fractal_of_fractals",
    "GoogLeNet": "googlenet",
    "GoogLeNet_BN": "googlenet",
    "GoogLeNet_CIFAR": "googlenet",
    "Inception_V3": "inception_v3",
    "MobileNet_V1": "mobilenet_v1",
    "MobileNet_V1_CIFAR": "mobilenet_v1",
    "MobileNet_V2": "mobilenet_v2",
    "MobileNet_V2_CIFAR": "mobilenet_v2",
    "MobileNet_V3_Small": "mobilenet_v3",
    "MobileNet_V3_Small_CIFAR": "mobilenet_v3",
    "MobileNet_V3_Large": "mobilenet_v3",
    "MobileNet_V3_Large_CIFAR": "mobilenet_v3",
    "SqueezeNet1_0": "squeezenet",
    "SqueezeNet1_1": "squeezenet",
    "SqueezeNet_CIFAR": "squeezenet",
    "Maxout_CIFAR": "maxout_network",
    "Competitive_CIFAR": "competitive",
    "FCN32s": "fcn",
    "FCN16s": "fcn",
    "FCN8s": "fcn",
    "Water_UNet": "water_unet",
}
NAMES = {builder.lower(): builder for builder in BUILDERS}


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """Names of the models that match.

    Args:
        pattern: with wildcards, as in `"res*"`; upper and lower case are the same.
        pretrained: whether to leave out models for which no weights are published.

    Returns:
        A list of names for `zoo.create`, in the order of family and size.

    Example:
        >>> list_models("squeeze*")
        ['squeezenet1_0', 'squeezenet1_1', 'squeezenet_cifar']
    """
    found = [name for name in NAMES if fnmatch.fnmatchcase(name, pattern.lower())]
    return [name for name in found if names_of(name)] if pretrained else found


def builder_name(name: str) -> str:
    """The builder of a model's name, or a ValueError that suggests the nearest."""
    if name.lower() in NAMES:
        return NAMES[name.lower()]
    near = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ". Expected one of: " + ", ".join(NAMES) + "."
    raise ValueError(f"There is no model named {name!r}{hint}")
