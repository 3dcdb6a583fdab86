"""Arrays out of files, by layer: Keras's formats, PyTorch's, safetensors, NumPy's, ncnn's. Nothing here runs what a
file says.
"""

import io
import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from convcraft.layers import ClassNames

SUFFIXES = (".weights.h5", ".keras", ".h5", ".hdf5", ".npz", ".safetensors", ".pth", ".pt", ".th", ".bin")
TORCH = ("weight", "bias", "running_mean", "running_var")  # a module's, in the order of Keras's
IGNORED = "num_batches_tracked"


@dataclass
class Arrays:
    """What a source holds.

    Attributes:
        name: of the source, for messages.
        layers: layer to arrays, in the source's order. Kernels are as Keras has them (HWIO) for layout "keras", else
            OIHW, and dense ones (units, inputs).
        layout: whose names and order of axes these are.
        settings: layer to configuration, where the source says it.
        skipped: names of arrays that no network needs.
        bgr: whether the first layer reads blue, green, red; None where the names decide.
        ordered: whether the layers come as in the network; Keras 3 writes them by the alphabet.
        classes: their names; empty where the source has none.
    """

    name: str
    layers: dict[str, list[np.ndarray]]
    layout: Literal["keras", "torch", "caffe"] = "keras"
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    bgr: bool | None = None
    ordered: bool = True
    classes: list[str] = field(default_factory=list)


def parts(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """The layers that have weights, by name; those inside another as "outer/inner"."""
    for layer in model.layers:
        inner = [own for own in layer._flatten_layers(include_self=False) if own.weights]
        inner = [own for own in inner if len(list(own._flatten_layers())) == 1]
        if inner:
            yield from ((f"{layer.name}/{own.name}", own) for own in inner)
        elif layer.weights:
            yield layer.name, layer


def read(source: keras.Model | str | os.PathLike[str]) -> Arrays:
    """The arrays of a model or of a file, whose format its suffix says."""
    if isinstance(source, keras.Model):
        layers = {name: layer.get_weights() for name, layer in parts(source)}
        kinds = keras.layers.BatchNormalization | keras.layers.Rescaling
        settings = {layer.name: layer.get_config() for layer in source.layers if isinstance(layer, kinds)}
        named = [layer.names for layer in source.layers if isinstance(layer, ClassNames)]
        classes = list(named[-1]) if named else []
        return Arrays(f"the model {source.name!r}", layers, settings=settings, classes=classes)
    path = pathlib.Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights {str(path)!r}.")
    readers = {".keras": _keras, ".npz": _npz, ".safetensors": _safetensors, ".pth": _pth, ".pt": _pth, ".th": _pth}
    readers |= {".h5": _h5, ".hdf5": _h5, ".bin": _ncnn}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"load_weights: expected a file that ends in {', '.join(SUFFIXES)}; received {str(path)!r}.")
    try:
        found = reader(path)
    except (OSError, zipfile.BadZipFile, KeyError, EOFError) as error:
        raise ValueError(f"{str(path)!r} is no whole {path.suffix} file of weights: {error}") from error
    found.name = str(path)
    return found


def _h5(path):
    with h5py.File(path) as file:
        return _groups(file)


def _groups(file):
    """Keras 3's `.weights.h5`, or one of earlier Keras, which may be of the whole model."""
    group = file.get("model_weights", file)
    if "layer_names" in group.attrs:
        layers = {}
        for name in map(_text, group.attrs["layer_names"]):
            own = group[name]
            arrays = [np.asarray(own[_text(weight)]) for weight in own.attrs.get("weight_names", ())]
            if arrays:
                layers[name] = arrays
        return Arrays("", layers)
    if "layers" not in file:
        raise KeyError("it has no layers")
    layers = {}
    for key in file["layers"]:
        outer = file[f"layers/{key}"]
        named = [_text(outer["vars"].attrs.get("name", key))] if "vars" in outer else []
        for name, own in _groups_of_arrays(outer):
            inner = [name] if own.parent != outer else []  # a layer inside the layer
            layers["/".join(named + inner)] = [np.asarray(own[str(number)]) for number in range(len(own))]
    return Arrays("", layers, ordered=False)


def _groups_of_arrays(group):
    found = []

    def look(path, item):
        if path.split("/")[-1] == "vars" and len(item) and "seed_generator" not in path:
            found.append((_text(item.attrs.get("name", path.split("/")[-2] if "/" in path else path)), item))

    group.visititems(look)
    return found


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def _keras(path):
    with zipfile.ZipFile(path) as archive:
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            found = _groups(file)
        config = json.loads(archive.read("config.json"))
    layers = config.get("config", {}).get("layers", [])
    found.settings = {layer["config"]["name"]: layer["config"] for layer in layers}
    found.layers = {name: found.layers[name] for name in found.settings if name in found.layers} | found.layers
    found.ordered = True
    own = (layer["config"] for layer in layers if layer["class_name"] == "ClassNames")
    found.classes = next((config["names"] for config in own if "names" in config), [])
    return found


def _npz(path):
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{str(path)!r} is no .npz file, which is an archive of arrays.")
    try:  # NumPy's own ValueError is for what is pickled
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except ValueError as error:
        raise ValueError(f"{str(path)!r} holds more than arrays, and is not read: {error}") from error
    return _modules(arrays)


def _safetensors(path):
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ModuleNotFoundError as error:
        raise ValueError(f"{str(path)!r} needs the package safetensors: pip install 'convcraft[convert]'.") from error
    try:
        return _modules(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is no whole .safetensors file: {error}") from error


def _pth(path):
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{str(path)!r} needs PyTorch: pip install 'convcraft[torch]', or save the state dict as .safetensors."
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever unpickling meets in a file that is none
        raise ValueError(
            f"{str(path)!r} is not read: it is cut short, or holds more than arrays, which could run anything when "
            "loaded. Load it where you trust it, and save its state dict alone, best as .safetensors. PyTorch says: "
            f"{(str(error).splitlines() or [type(error).__name__])[0]}"
        ) from error
    for key in ("state_dict", "model"):
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{str(path)!r}: expected a state dict, names to tensors.")
    return _modules({name: value.float().numpy() for name, value in state.items()})


def _modules(arrays):
    """From flat names, "conv1.weight" or Caffe's "fire2__expand1x1__kernel", to modules."""
    caffe = any(name.endswith("__kernel") for name in arrays)
    found = Arrays("", {}, layout="caffe" if caffe else "torch")
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        module, _, part = name.removeprefix("module.").rpartition("__" if caffe else ".")
        part = "weight" if caffe and part == "kernel" else part
        if part == IGNORED:
            found.skipped.append(name)
        elif part not in TORCH:
            raise ValueError(f"expected arrays named weight, bias, running_mean or running_var; received {name!r}.")
        else:
            parts.setdefault(module.replace("__", "/") if caffe else module, {})[part] = array
    found.layers = {name: [own[part] for part in TORCH if part in own] for name, own in parts.items()}
    return found


def _ncnn(path):
    """SqueezeNet 1.1 of ncnn's assets: for each convolution a tag, kernels as float16, biases as float32."""
    from .squeezenet import SqueezeNet1_1

    data, place, layers = path.read_bytes(), 0, {}
    model = SqueezeNet1_1()
    for layer in model.layers:
        if not layer.weights:
            continue
        high, wide, inputs, outputs = layer.kernel.shape
        size = high * wide * inputs * outputs
        end = place + 4 + 2 * size + 4 * outputs
        if data[place : place + 4] != (0x01306B47).to_bytes(4, "little") or end > len(data):
            raise OSError("expected SqueezeNet 1.1 in ncnn's half precision")
        kernel = np.frombuffer(data, "<f2", size, place + 4).reshape(outputs, inputs, high, wide)
        layers[layer.name] = [kernel, np.frombuffer(data, "<f4", outputs, end - 4 * outputs)]
        place = end
    if place != len(data):
        raise OSError(f"expected {place} bytes, found {len(data)}")
    return Arrays("", layers, layout="caffe", bgr=True)
