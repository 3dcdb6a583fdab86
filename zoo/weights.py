"""Weights into a model, with a report of what went where. All shapes are checked before the first value changes."""

import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from convcraft.layers import ClassNames

from . import conversion_names as names
from . import downloads, shipped
from .conversion import preprocessing, to_ours
from .weight_files import SUFFIXES, Arrays, parts, read

DOC = (
    "None; the name of published weights, as in `zoo.info(name).weights`; or what `zoo.load_weights` takes: a "
    "`.weights.h5`, `.keras`, `.h5`, `.npz`, `.safetensors` or `.pth` file. The head is new where classes differ."
)


@dataclass(frozen=True)
class LoadReport:
    """What became of the weights.

    Attributes:
        loaded: names of the layers that have the source's values.
        skipped: names of what the source has and the model does not.
        reinitialized: names of the model's layers that keep their initial values.
        settings: what was set beside weights: preprocessing, a normalization's epsilon.
    """

    loaded: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    reinitialized: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Counts, then names."""
        lines = [
            f"Weights: {len(self.loaded)} layers loaded, {len(self.skipped)} of the source's skipped, "
            f"{len(self.reinitialized)} initialized anew."
        ]
        rows = {"skipped": self.skipped, "initialized anew": self.reinitialized, "set": self.settings}
        return "\n".join([*lines, *(f"  {key}: {_few(found, 8)}" for key, found in rows.items() if found)])


def load_weights(
    model: keras.Model,
    source: keras.Model | str | os.PathLike[str],
    *,
    architecture: str | None = None,
    partial: bool | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    bgr: bool | None = None,
) -> LoadReport:
    """Copies weights into a model of the zoo, layer by layer, by name.

    A head that has other classes keeps its initial values, and the report says so. Any other mismatch raises, and
    leaves the model as it was. A dense layer's weights fit the convolution that it is the same as, and the other way.

    Args:
        model: to be changed.
        source: a path, whose suffix says its format: `.weights.h5`, `.keras`, Keras's earlier `.h5`, `.npz`,
            `.safetensors`, `.pth`; published weights by name, as "imagenet"; or another model, as a shallower one.
        architecture: the model's name in the zoo, where it was given another.
        partial: whether layers may be on one side only; None: for another model they may, for a file they may not.
        mean: of the source's images, by channel, RGB, on the 0-255 scale; None: what is known of the source.
        std: by which they were divided.
        bgr: whether the source reads blue, green, red; None: what is known of the source.

    Returns:
        A `LoadReport`.

    Raises:
        ValueError: for weights of another network, or a file that is none.
        OSError: for a file that is not there, and published weights that cannot be downloaded.

    Example:
        >>> from convcraft import zoo
        >>> small = zoo.Design(width=0.125, head_layers=(8, 8))
        >>> shallow = zoo.create("vgg11", classes=5, input_shape=(32, 32, 3), design=small)
        >>> deep = zoo.create("vgg16", classes=7, input_shape=(32, 32, 3), design=small)
        >>> load_weights(deep, shallow).reinitialized[-2:]
        ('stage5_conv3', 'head')

    Reference:
        Simonyan, Zisserman 2014, arXiv 1409.1556, section 3.1: the deeper nets start from the weights of the shallower.
    """
    architecture = (architecture or model.name).lower()
    partial = isinstance(source, keras.Model) if partial is None else partial
    found = _find(model, architecture, source)
    arrays = to_ours(model, architecture, found, bgr)
    if mean is not None or std is not None:
        found.settings["preprocess"] = preprocessing(mean or (0.0,) * len(std or ()), std or (1.0,) * len(mean or ()))
    values, reinitialized = {}, []
    layers = dict(parts(model))
    arrays = _for_classes(model, found, arrays)
    for name, layer in layers.items():
        own = arrays.pop(name, None)
        fitting = None if own is None else _fit(layer, own, architecture, found)
        if fitting is None:
            reinitialized.append(name)
        else:
            values[name] = fitting
    lacking = [name for name in reinitialized if not _is_head(name)]
    if not values or (lacking and not partial):
        raise ValueError(
            f"load_weights: {_quoted(found)} lacks what {architecture} needs: {_few(lacking or reinitialized)}. "
            "It is of another network or design; partial=True would take what fits."
        )
    beside = ["head", "score", "auxiliary"]
    if not any(map(_is_head, layers)):  # nor is the source's classifier taken
        beside.append(names.last(found.layers) or "head")
    more = [name for name in arrays if not name.startswith(tuple(beside))]
    if more and not partial:
        raise ValueError(
            f"load_weights: {_quoted(found)} has more than {architecture} takes: {_few(more)}. "
            "It is of another network or design; partial=True would leave it out."
        )
    for name, own in values.items():
        layers[name].set_weights(own)
    return LoadReport(tuple(values), (*arrays, *found.skipped), tuple(reinitialized), _set(model, found, values))


def _for_classes(model, found, arrays):
    """The head in the order of the model's classes; without it where these are others than the source's."""
    own = next((layer.names for layer in model.layers if isinstance(layer, ClassNames)), None)
    nameless = [str(number) for number in range(len(own or ()))]
    if not own or own in (found.classes, nameless) or found.classes in ([], nameless):
        return arrays
    if sorted(own) != sorted(found.classes):
        return {name: values for name, values in arrays.items() if not _is_classifier(name)}
    order = [found.classes.index(name) for name in own]
    return {
        name: [each[..., order] for each in values] if _is_classifier(name) else values
        for name, values in arrays.items()
    }


def _quoted(found):
    return found.name if found.name.startswith("the model") else repr(found.name)


def _few(names, count=2):
    return ", ".join(names[:count]) + (f", … ({len(names)} in all)" if len(names) > count else "")


def _is_head(name):
    """Whether a layer may differ with the classes (score: of the FCNs), or is for training only."""
    return name in ("head", "head_norm") or name.startswith(("score", "auxiliary"))


def _is_classifier(name):
    """Whether a layer's outputs are the classes."""
    return _is_head(name) and (not name.startswith("auxiliary") or name.endswith("_logits"))


def _find(model, architecture, source) -> Arrays:
    if isinstance(source, keras.Model):
        return read(source)
    if not isinstance(source, str | os.PathLike):
        raise ValueError(f"{architecture}: expected weights to be a path, a name or a model; received {source!r}.")
    text = os.fspath(source)
    if pathlib.Path(text).suffix.lower() in SUFFIXES or os.path.exists(text):
        found = read(source)
        card = next((card for card in shipped.cards() if shipped.FOLDER / card["file"] == pathlib.Path(text)), None)
        found.classes = card["classes"] if card else found.classes
        return found
    ours = shipped.of(architecture, text)
    if ours:
        files = [read(shipped.path(card)) for card in ours]
        return next((file for file in files if _same_width(model, file)), files[0])
    file = _published(model, architecture, text)
    try:
        found = read(downloads.fetch(file))
    except OSError as error:
        raise OSError(f"{architecture}: {error}") from error
    found.name, found.bgr = text, file.bgr
    return found


def _same_width(model, found):
    """Whether the first convolution has as many channels."""
    return all(
        np.shape(found.layers[name][0])[-1] == layer.weights[0].shape[-1]
        for name, layer in parts(model)
        if name in found.layers and name == "stem"
    )


def _published(model, architecture, name):
    """The published file of a name for a model, by its width."""
    models = downloads.PUBLISHED.get(name, {})
    if architecture not in models:
        hint = f" {architecture}: {downloads.ELSEWHERE[architecture]}." if architecture in downloads.ELSEWHERE else ""
        known = "; ".join(f"{key!r} for {', '.join(each)}" for key, each in downloads.listing().items())
        raise ValueError(
            f"{architecture}: expected weights to be None, a file that ends in {', '.join(SUFFIXES[:-1])}, or "
            f"published weights; received {name!r}.{hint} There are {known}."
        )
    files = models[architecture]
    for file in files:
        if file.probe is None or model.get_layer(file.probe[0]).kernel.shape[-1] == file.probe[1]:
            return file
    layer = next(file.probe[0] for file in files if file.probe)
    raise ValueError(
        f"{architecture}: there are no {name!r} weights of this width: {layer} has "
        f"{model.get_layer(layer).kernel.shape[-1]} channels; published are "
        f"{', '.join(f'{file.probe[1]} ({file.file})' for file in files if file.probe)}. Choose Design(width=…) so."
    )


def _fit(layer, arrays, architecture, found):
    """The arrays in the layer's shapes; None for a head of other classes."""
    wanted, given = [tuple(w.shape) for w in layer.weights], [np.shape(a) for a in arrays]
    if len(wanted) == len(given):
        values = [_reshaped(array, shape) for array, shape in zip(arrays, wanted, strict=True)]
        if all(value is not None for value in values):
            return values
        if _is_head(layer.name) and all(
            one[:-1] == other[:-1] or np.prod(one[:-1]) == np.prod(other[:-1])
            for one, other in zip(wanted, given, strict=True)
        ):
            return None
    raise ValueError(
        f"load_weights: {_quoted(found)} does not fit layer {layer.name!r} of {architecture}: it has "
        f"{', '.join(map(str, given))}, expected {', '.join(map(str, wanted))}. {_knob(layer, wanted, given)}"
    )


def _reshaped(array, shape):
    """A dense kernel as that of a convolution, and back; None where neither fits."""
    if np.shape(array) == shape:
        return array
    same = np.size(array) == np.prod(shape) and {np.ndim(array), len(shape)} == {2, 4}
    return array.reshape(shape) if same and array.shape[-1] == shape[-1] else None


def _knob(layer, wanted, given):
    """What probably differs."""
    one, other = wanted[0], given[0] if given else ()
    if isinstance(layer, keras.layers.BatchNormalization | keras.layers.GroupNormalization):
        knob = "normalization" if len(wanted) != len(given) else "width"
    elif len(wanted) != len(given):
        knob = "normalization (a bias)"
    elif len(one) == len(other) == 4 and one[:2] != other[:2]:
        knob = "kernel_size"
    elif layer.name == "stem" and one[:-1] != other[:-1]:
        return "The likely reason: images of another number of channels, `input_shape`."
    elif len(one) == 2 and one[:1] != other[:1]:
        return "The likely reason: another `input_shape`, or another design."
    else:
        knob = "width"
    return f"The likely reason: another design, as its `{knob}`."


def _set(model, found, values):
    """Applies what the source's networks have beside weights; returns it in words."""
    said, epsilons = [], set()
    for layer in model.layers:
        config = found.settings.get(layer.name, {})
        if isinstance(layer, keras.layers.BatchNormalization) and layer.name in values:
            epsilon = config.get("epsilon", layer.epsilon)
            if epsilon != layer.epsilon:
                layer.epsilon = epsilon
                epsilons.add(epsilon)
        elif layer.name == "preprocess" and isinstance(layer, keras.layers.Rescaling) and "scale" in config:
            new, old = ([each.get(key) for key in ("scale", "offset")] for each in (config, layer.get_config()))
            if not all(np.allclose(a, b, rtol=1e-6) for a, b in zip(new, old, strict=True)):
                layer.scale, layer.offset = new
                said.append(f"preprocess to images * {_short(new[0])} + {_short(new[1])}")
    if "preprocess" in found.settings and "preprocess" not in [layer.name for layer in model.layers]:
        config = found.settings["preprocess"]
        said.append(f"nothing before the stem: feed it images * {_short(config['scale'])} + {_short(config['offset'])}")
    if epsilons:
        said.append(f"epsilon of the normalizations to {', '.join(map(str, sorted(epsilons)))}")
    if said:  # the numbers are part of compiled functions
        model.train_function = model.test_function = model.predict_function = None
    return tuple(said)


def _short(value):
    return "(" + ", ".join(f"{number:.4g}" for number in np.atleast_1d(np.asarray(value, "float64"))) + ")"
