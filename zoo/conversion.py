"""From the names, axes and colours of other libraries to ours."""

import os
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from convcraft.layers import Model

from . import conversion_names as names
from .downloads import PUBLISHED
from .index import NAMES
from .weight_files import Arrays, read


def to_ours(model: keras.Model, architecture: str, found: Arrays, bgr: bool | None = None) -> dict[str, list]:
    """The source's arrays by our layers' names, in our order of axes; what is not ours keeps its own name.

    Args:
        model: ours.
        architecture: its name in the zoo, by which the names of others are known.
        found: the source's arrays; its settings are filled with those that the source's networks have.
        bgr: whether its first layer reads blue, green, red; None: as its kind usually does.

    Raises:
        ValueError: where nothing is known of the source's names.
    """
    ours = [layer.name for layer in model.layers if layer.weights]
    rules = names.TORCH if found.layout == "torch" else names.CAFFE
    rule = next((rule for pattern, rule in rules.items() if re.fullmatch(pattern, architecture)), None)
    theirs, settings = dict.fromkeys(found.layers), {}
    first = ours[0] if ours else ""
    if first in found.layers or (found.layout == "keras" and set(ours) & set(found.layers)):
        table = {name: name for name in found.layers}
    elif found.layout == "keras":
        table = _keras_names(model, architecture, found, rule)
        if not table and rule is not None:
            table, found.bgr = rule[0](ours, theirs), True
        elif table and found.bgr is None:
            found.bgr = any(file.bgr for file in PUBLISHED["imagenet"][architecture])
    elif rule is not None:
        table = rule[0](ours, theirs)
        settings = _settings(model, *rule[1:])
        found.bgr = found.layout == "caffe" if found.bgr is None else found.bgr
    else:
        table = {}
    if not set(table.values()) & set(theirs):
        raise ValueError(_unknown(architecture, found, rules))
    found.settings = {**settings, **found.settings}
    back = {their: our for our, their in table.items()}
    arrays = {}
    for name, own in found.layers.items():
        if names.BESIDE.fullmatch(name):
            found.skipped.append(name)
        else:
            arrays[back.get(name, name)] = own
    if found.layout != "keras":
        arrays = _transposed(model, arrays)
    flip = found.bgr if bgr is None else bgr
    if flip and first in arrays:
        kernel, *rest = arrays[first]
        arrays[first] = [kernel[:, :, ::-1], *rest]
    return _folded(model, arrays)


def _unknown(architecture, found, rules):
    few = ", ".join(list(found.layers)[:3])
    if found.layout == "keras":
        known = ", ".join(name for name in PUBLISHED["imagenet"] if not name.startswith("squeezenet"))
        return (
            f"load_weights: the layers of {found.name} ({few}, …) are not those of {architecture}, nor has "
            f"keras.applications this network: its files, by order, fit {known}. A network whose paddings or "
            "normalizations differ from ours cannot be loaded at all."
        )
    kind = "PyTorch's" if found.layout == "torch" else "Caffe's"
    return (
        f"load_weights: the layers of {found.name} ({few}, …) are not {kind} names for {architecture!r}; these are "
        f"known for {', '.join(name for name in NAMES if any(re.fullmatch(pattern, name) for pattern in rules))}."
    )


def _keras_names(model, architecture, found, rule):
    """Keras's own files are by order: the layers of keras.applications come in the order of ours."""
    if architecture not in PUBLISHED["imagenet"] or architecture.startswith("squeezenet"):
        return {}
    if not found.ordered:
        raise ValueError(
            f"load_weights: {found.name} has its layers by the alphabet, so which is which is not known: load it into "
            "its own model with Keras, and pass that model in place of the path."
        )
    body = [layer.name for layer in model.layers if layer.weights and not layer.name.startswith(("head", "auxiliary"))]
    head = [layer.name for layer in model.layers if layer.weights and layer.name.startswith("head")]
    theirs, more = list(found.layers), len(found.layers) - len(body)
    if not 0 <= more <= 3 or (head and more not in (0, len(head))):
        raise ValueError(
            f"load_weights: {found.name} has {len(theirs)} layers with arrays, {architecture} {len(body)} and "
            f"{len(head)} in its head: it is of another network or design."
        )
    head = head or [f"head ({name})" for name in theirs[len(body) :]]  # to be skipped
    return dict(zip(body + head, theirs, strict=False))


def _settings(model, colours, epsilon):
    """What a source's network has that is in no array."""
    mean, std = colours
    found = {"preprocess": preprocessing(mean, std)}
    for layer in model.layers:
        if epsilon is not None and isinstance(layer, keras.layers.BatchNormalization):
            found[layer.name] = {"epsilon": epsilon}
    return found


def preprocessing(mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """The arguments of `Rescaling` that subtract `mean` and divide by `std`."""
    return {"scale": [1 / s for s in std], "offset": [-m / s for m, s in zip(mean, std, strict=True)]}


def _transposed(model, arrays):
    """Kernels from (units, inputs, height, width) to (height, width, inputs, units); after a flattening, from
    (channels, height, width) to (height, width, channels).
    """
    grid = _flattened(model)
    found = {}
    for name, (kernel, *rest) in arrays.items():
        if kernel.ndim == 4:
            kernel = kernel.transpose(2, 3, 1, 0)
        elif kernel.ndim == 2 and grid and name == grid[0] and kernel.shape[1] == np.prod(grid[1]):
            high, wide, channels = grid[1]
            kernel = kernel.reshape(-1, channels, high, wide).transpose(2, 3, 1, 0).reshape(-1, len(kernel))
        elif kernel.ndim == 2:
            kernel = kernel.T
        found[name] = [kernel, *rest]
    return found


def _flattened(model):
    """The first dense layer after a flattening, and the shape of what it sees; None where there is none."""
    shape = None
    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten):
            shape = layer.input.shape[1:]
        elif shape is not None and layer.weights:
            return layer.name, shape
        elif shape is None and layer.name.startswith("head") and layer.weights and len(layer.kernel.shape) == 4:
            return layer.name, tuple(layer.kernel.shape[:3])  # slides over larger features
    return None


def _folded(model, arrays):
    """Where ours has no bias before a normalization, theirs moves into the mean that is subtracted next."""
    for layer in model.layers:
        own, norm = arrays.get(layer.name), arrays.get(f"{layer.name}_norm")
        if own and norm and len(layer.weights) == 1 and len(own) == 2 and len(norm) >= 3:
            arrays[layer.name] = own[:1]
            arrays[f"{layer.name}_norm"] = [*norm[:-2], norm[-2] - own[1], norm[-1]]
    return arrays


def convert(
    model: keras.Model | str,
    source: str | os.PathLike[str],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    bgr: bool | None = None,
    whole: bool = False,
    **options: Any,
) -> Model:
    """A network of ours with the weights of a PyTorch state dict, of Caffe or of Keras.

    Takes torchvision's AlexNet, VGG, GoogLeNet, ResNet and SqueezeNet, akamaster's CIFAR ResNets, the authors' Caffe
    files of SqueezeNet, VGG, GoogLeNet and AlexNet as arrays, and files of keras.applications. The result takes raw
    0-255 RGB images: the first layer does what the source's preprocessing did. Nothing in a file is run.

    Args:
        model: one of ours, or its name: then it is built with as many classes as the source has.
        source: `.pth`, `.pt` or `.th` (a state dict), `.safetensors`, `.npz` (names as in a state dict, or Caffe's
            with "__" in place of "/": `fire2__expand1x1__kernel`), a Keras `.h5`, `.weights.h5` or `.keras`.
        mean: of the images that the source was trained on, by channel, RGB, on the 0-255 scale; the source's usual.
        std: by which they were divided.
        bgr: whether the source reads blue, green, red: Caffe does, and keras.applications' VGG and ResNet v1.
        whole: whether to refuse a source that has not the weights of every layer.
        options: for `zoo.create`, where `model` is a name: `classes`, `input_shape`, `design`, ….

    Returns:
        The model; a given one is changed. What was skipped or left as it was is printed.

    Raises:
        ValueError: for arrays that do not fit, are missing, or that nothing is known of.

    Example:
        >>> convert("resnet20_cifar", "resnet20-12fca82f.th")
        Traceback (most recent call last):
        FileNotFoundError: There is no file of weights 'resnet20-12fca82f.th'.

    Reference:
        https://github.com/pytorch/vision, https://github.com/akamaster/pytorch_resnet_cifar10.
    """
    from .registry import create
    from .weights import load_weights

    if isinstance(model, str):
        found, given = read(source), dict(options)
        final = names.last(found.layers)
        if final is not None and given.get("head") != "none":
            kernel = found.layers[final][0]
            given.setdefault("classes", kernel.shape[-1 if found.layout == "keras" else 0])
        if model == "googlenet_bn" and found.layout == "torch":
            given.setdefault("torchvision", True)
        if model.endswith("_cifar") and any(name.endswith(("shortcut.0", "downsample.0")) for name in found.layers):
            given.setdefault("shortcut", "B")
        architecture, model = model.lower(), create(model, **given)
    else:
        if options:
            raise ValueError(f"convert: expected no {', '.join(options)} beside a model that exists; these build one.")
        architecture = model.name
    report = load_weights(model, source, architecture=architecture, mean=mean, std=std, bgr=bgr)
    if whole and report.reinitialized:
        raise ValueError(
            f"{source} lacks weights of {architecture}: {', '.join(report.reinitialized[:5])}. What it answers would "
            "mean nothing."
        )
    if report.skipped or report.reinitialized:
        print(report)
    return model
