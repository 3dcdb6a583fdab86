"""The models by name, readable without Keras: the command line lists them from here."""

import difflib
import fnmatch

# Public builder: the module that holds its family. A model's name is its builder's, in lower case.
BUILDERS: dict[str, str | None] = {
    "ResNet20_CIFAR": "resnet_cifar",
    "ResNet32_CIFAR": "resnet_cifar",
    "ResNet44_CIFAR": "resnet_cifar",
    "ResNet56_CIFAR": "resnet_cifar",
    "ResNet110_CIFAR": "resnet_cifar",
    "SqueezeNet1_0": "squeezenet",
    "SqueezeNet1_1": "squeezenet",
    "SqueezeNet_CIFAR": "squeezenet",
}
NAMES = {builder.lower(): builder for builder in BUILDERS}


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """Names of the models that match.

    Args:
        pattern: with wildcards, as in `"res*"`; upper and lower case are the same.
        pretrained: whether to leave out models for which no weights are shipped (at present: all of them).

    Returns:
        A list of names for `zoo.create`, in the order of family and size.

    Example:
        >>> list_models("squeeze*")
        ['squeezenet1_0', 'squeezenet1_1', 'squeezenet_cifar']
    """
    return [] if pretrained else [name for name in NAMES if fnmatch.fnmatchcase(name, pattern.lower())]


def builder_name(name: str) -> str:
    """The builder of a model's name, or a ValueError that suggests the nearest."""
    if name.lower() in NAMES:
        return NAMES[name.lower()]
    near = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ". Expected one of: " + ", ".join(NAMES) + "."
    raise ValueError(f"There is no model named {name!r}{hint}")
