"""What torchvision, the CIFAR ResNets of PyTorch and Caffe call the layers of our networks."""

import re
from collections.abc import Callable, Iterable

Names = Callable[[list[str], Iterable[str]], dict[str, str]]  # our layers, their modules: from ours to theirs

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # RGB, 0-255: .485 .456 .406 and .229 .224 .225 of 255
SQUEEZED = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))  # what transform_input of torchvision's GoogLeNet comes to


def numbered(name: str) -> tuple[int, ...]:
    """The numbers in a module's name, to sort by."""
    return tuple(map(int, re.findall(r"\d+", name)))


def _in_order(ours, theirs):
    """Their modules features.0, features.3, …, classifier.1, … have no other names than these numbers."""
    features, classifier = (
        sorted((name for name in theirs if name.startswith(f"{part}.")), key=numbered)
        for part in ("features", "classifier")
    )
    body = [name for name in ours if not name.startswith("head")]
    head = [name for name in ours if name.startswith("head")]
    # from the end: a net without its head, or with another, has the same body
    return {**dict(zip(body, features, strict=False)), **dict(zip(head[::-1], classifier[::-1], strict=False))}


def _resnet(ours, theirs):
    theirs, found = set(theirs), {}
    for name in ours:
        plain = name.removesuffix("_norm")
        part = "bn" if name.endswith("_norm") else "conv"
        if plain == "stem":
            found[name] = f"{part}1"
        elif plain == "head":
            found[name] = "linear" if "linear" in theirs else "fc"
        elif match := re.fullmatch(r"stage(\d)_block(\d+)_(conv(\d)|shortcut)", plain):
            stage, block, _, number = match.groups()
            place = f"layer{stage}.{int(block) - 1}"
            if number:
                found[name] = f"{place}.{part}{number}"
            else:
                kind = "shortcut" if f"{place}.shortcut.0" in theirs else "downsample"
                found[name] = f"{place}.{kind}.{'01'[part == 'bn']}"
    return found


def _squeezenet(ours, theirs):
    numbers = sorted({numbered(name)[0] for name in theirs if name.endswith(".squeeze")})
    found = {"stem": "features.0", "head": "classifier.1"}
    for name in ours:
        if match := re.fullmatch(r"fire(\d+)_(squeeze|expand1x1|expand3x3)", name):
            number = int(match[1]) - 2
            if number < len(numbers):
                found[name] = f"features.{numbers[number]}.{match[2]}"
    return found


GOOGLENET = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.0",
    "3x3": "branch2.1",
    "5x5_reduce": "branch3.0",
    "5x5": "branch3.1",
    "pool_1x1": "branch4.1",
}


def _googlenet(ours, theirs):
    found = {}
    for name in ours:
        plain, part = name.removesuffix("_norm"), "bn" if name.endswith("_norm") else "conv"
        if plain == "head":
            found[name] = "fc"
        elif plain in ("stem", "conv2_reduce", "conv2"):
            found[name] = f"{ {'stem': 'conv1', 'conv2_reduce': 'conv2', 'conv2': 'conv3'}[plain] }.{part}"
        elif match := re.fullmatch(r"(inception\d[a-e])_(.+)", plain):
            found[name] = f"{match[1]}.{GOOGLENET[match[2]]}.{part}"
    return found


# a pattern of our models' names: names, (mean, deviation) of their images, epsilon of their normalizations
TORCH: dict[str, tuple[Names, tuple, float | None]] = {
    r"resnet\d+": (_resnet, IMAGENET, 1e-5),
    r"resnet\d+_cifar": (_resnet, IMAGENET, 1e-5),  # akamaster's; yes, with the colours of ImageNet
    r"vgg\d+(_bn)?|alexnet": (_in_order, IMAGENET, 1e-5),
    r"squeezenet1_\d": (_squeezenet, IMAGENET, None),
    r"googlenet_bn": (_googlenet, SQUEEZED, 1e-3),
}


def _renamed(*rules: tuple[str, str]) -> Names:
    """Names by the first rule, a pattern and what to write for it, that fits."""

    def names(ours, theirs):
        found = {}
        for name in ours:
            for pattern, replacement in rules:
                if re.fullmatch(pattern, name):
                    found[name] = re.sub(pattern, replacement, name)
                    break
        return found

    return names


_ALEXNET = _renamed(
    ("stem", "conv1"), (r"(conv\d)", r"\1"), ("head_dense1", "fc6"), ("head_dense2", "fc7"), ("head", "fc8")
)
_VGG = _renamed(
    ("stem", "conv1_1"),
    (r"stage(\d)_conv(\d)", r"conv\1_\2"),
    ("head_dense1", "fc6"),
    ("head_dense2", "fc7"),
    ("head", "fc8"),
)
_GOOGLENET = _renamed(
    ("stem", "conv1/7x7_s2"),
    ("conv2_reduce", "conv2/3x3_reduce"),
    ("conv2", "conv2/3x3"),
    (r"inception(\d[a-e])_pool_1x1", r"inception_\1/pool_proj"),
    (r"inception(\d[a-e])_(.+)", r"inception_\1/\2"),
    ("head", "loss3/classifier"),
)
_SQUEEZENET = _renamed(
    ("stem", "conv1"), (r"(fire\d)_squeeze", r"\1/squeeze1x1"), (r"(fire\d)_(expand.*)", r"\1/\2"), ("head", "conv10")
)
# the same; the means that the authors' files subtract, here RGB
CAFFE: dict[str, tuple[Names, tuple, float | None]] = {
    r"squeezenet1_\d": (_SQUEEZENET, ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0)), None),
    r"vgg\d+": (_VGG, ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)), None),
    r"googlenet": (_GOOGLENET, ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0)), None),
    r"alexnet_2012": (_ALEXNET, ((122.68, 116.67, 104.01), (1.0, 1.0, 1.0)), None),
}
# classifiers beside the body, which matter in training only
BESIDE = re.compile(r"(aux\d|loss[12])\b.*")
# ours, PyTorch's, Caffe's, keras.applications'
LAST = ("head", "fc", "linear", "fc8", "conv10", "loss3/classifier", "predictions")


def last(modules: Iterable[str]) -> str | None:
    """The module of the classifier among theirs."""
    modules = list(modules)
    # the last is PyTorch's of a sequence, or Keras's where nobody named it
    numbers = [name for name in modules if re.fullmatch(r"classifier\..*|dense(_\d+)?", name)]
    return max(numbers, key=numbered) if numbers else next((name for name in LAST if name in modules), None)
