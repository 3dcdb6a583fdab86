"""What a model costs: parameters, multiply-adds, memory, receptive field."""

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import keras
import numpy as np

from convcraft.layers import BilinearUpsampling2D, DepthToSpace

from .graphs import is_model, nodes


@dataclass(frozen=True)
class LayerCost:
    """One layer's share: its `name`, `kind`, `output_shape`, `parameters` and `multiply_adds`."""

    name: str
    kind: str
    output_shape: tuple
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Cost:
    """What one image costs, and what the model weighs.

    Attributes:
        parameters: all of them.
        trainable: those that training changes.
        multiply_adds: of convolutions and dense layers (one multiply-add is two operations); normalization,
            activations and pooling are not counted, as usual.
        activation_bytes: sum of all layers' outputs for one image, in bytes of the compute dtype.
        receptive_field: pixels (height, width) of the input that one output of the last feature map sees, leaving
            out what squeeze-and-excitation knows of the whole image.
        stride: input pixels (height, width) between its neighbours.
        layers: a `LayerCost` for each layer.
    """

    parameters: int
    trainable: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: tuple[int, int]
    stride: tuple[float, float]
    layers: tuple[LayerCost, ...]


def cost(model: keras.Model) -> Cost:
    """Counts the cost of a functional model with a fixed input size.

    Args:
        model: a functional or sequential `keras.Model` of 2D layers, channels last. Models inside it are counted,
            too, as one layer.

    Returns:
        A `Cost`.

    Raises:
        ValueError: if height or width of the input is None.

    Example:
        >>> inputs = keras.Input((32, 32, 256))
        >>> cost(keras.Model(inputs, keras.layers.Conv2D(128, 3, padding="same")(inputs))).multiply_adds
        301989888
    """
    if any(size is None for tensor in model.inputs for size in tensor.shape[1:]):
        raise ValueError(
            f"cost: expected a model with a fixed input size, received {[tuple(t.shape) for t in model.inputs]}. "
            "Build it with input_shape=(height, width, channels)."
        )
    model = getattr(model, "_functional", None) or model  # a sequential model's inside
    calls: dict[int, list] = {id(layer): [] for layer in model.layers}
    inside = {id(layer): cost(layer) for layer in model.layers if is_model(layer)}
    fields: dict[int, tuple] = {}  # id of a tensor: receptive field and stride
    last, memory = ((1, 1), (1, 1)), 0
    for node in nodes(model):  # from the input on: a shared layer has several nodes
        layer, inner = node.operation, inside.get(id(node.operation))
        calls.setdefault(id(layer), []).append(node)  # of a function of keras.ops, too, which is no layer
        memory += sum(map(_bytes, node.output_tensors))
        if inner:  # its own input and output are those of this model
            memory += inner.activation_bytes - sum(map(_bytes, [*layer.inputs, *layer.outputs]))
        # one factor a channel, as of squeeze-and-excitation, tells nothing of places
        places = [t for t in node.input_tensors if tuple(t.shape[1:3]) != (1, 1)] or node.input_tensors
        sources = [fields[id(t)] for t in places] or [((1, 1), (1, 1))]
        field = _field(sources, *((inner.receptive_field, inner.stride) if inner else window(layer, node)))
        fields.update({id(t): field for t in node.output_tensors})
        if any(len(t.shape) == 4 for t in node.output_tensors):
            last = field
    rows = []
    for layer in model.layers:
        own, inner = calls[id(layer)], inside.get(id(layer))
        operations = sum(inner.multiply_adds if inner else _multiply_adds(layer, node) for node in own)
        shape = tuple(own[0].output_tensors[0].shape[1:])
        rows.append(LayerCost(layer.name, type(layer).__name__, shape, layer.count_params(), operations))
    field, stride = last
    return Cost(
        parameters=model.count_params(),
        trainable=int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_bytes=memory,
        receptive_field=(ceil(field[0]), ceil(field[1])),
        stride=(_whole(stride[0]), _whole(stride[1])),
        layers=tuple(rows),
    )


def _whole(step):
    return int(step) if step == int(step) else step  # a fraction where the last map is finer than the image


def _bytes(tensor):
    size = 2 if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype).itemsize
    return prod(tensor.shape[1:]) * size


def _multiply_adds(layer, node):
    kinds = keras.layers
    inputs, outputs = node.input_tensors, node.output_tensors
    if hasattr(layer, "multiply_adds"):  # a layer made of several, which knows its own
        return layer.multiply_adds(tuple(inputs[0].shape))
    if isinstance(layer, kinds.Dense):  # not what comes out of it: its activation may be maxout
        return prod(outputs[0].shape[1:-1]) * layer.units * inputs[0].shape[-1]
    if isinstance(layer, kinds.Conv2DTranspose):
        return prod(inputs[0].shape[1:]) * prod(layer.kernel_size) * layer.filters
    if isinstance(layer, kinds.SeparableConv2D):
        middle = inputs[0].shape[-1] * layer.depth_multiplier
        pixels = prod(outputs[0].shape[1:-1])
        return pixels * middle * (prod(layer.kernel_size) + layer.filters)
    if isinstance(layer, kinds.DepthwiseConv2D):
        return prod(outputs[0].shape[1:]) * prod(layer.kernel_size)
    if isinstance(layer, kinds.Conv2D):
        wide = prod(outputs[0].shape[1:-1]) * layer.filters
        return wide * prod(layer.kernel_size) * inputs[0].shape[-1] // layer.groups
    return 0


def window(layer: keras.layers.Layer, node: Any) -> tuple[tuple[int, int], tuple[float, float]]:
    """How many of its input's pixels one output of `layer` sees, and the step between them: (height, width) each."""
    kinds = keras.layers
    whole = (
        kinds.AdaptiveAveragePooling2D,
        kinds.AdaptiveMaxPooling2D,
        kinds.GlobalAveragePooling2D,
        kinds.GlobalMaxPooling2D,
    )
    if isinstance(layer, whole):  # the window is what the image's size makes it
        before, after = node.input_tensors[0].shape[1:3], node.output_tensors[0].shape[1:3]
        after = after if len(after) == 2 else (1, 1)
        sizes = list(zip(before, after, strict=True))
        return tuple(-(-n // k) for n, k in sizes), tuple(n // k for n, k in sizes)
    if isinstance(layer, kinds.UpSampling2D):
        return (1, 1), tuple(1 / size for size in layer.size)
    if isinstance(layer, BilinearUpsampling2D):
        return (2, 2), (1 / layer.factor, 1 / layer.factor)
    if isinstance(layer, DepthToSpace):
        return (1, 1), (1 / layer.block, 1 / layer.block)
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if kernel is None:
        step = getattr(layer, "stride", 1)  # PadShortcut takes every stride-th pixel
        return (1, 1), (step, step)
    if isinstance(layer, kinds.Conv2DTranspose):
        seen = tuple(ceil(k / s) for k, s in zip(kernel, layer.strides, strict=True))
        return seen, tuple(1 / s for s in layer.strides)
    dilation = getattr(layer, "dilation_rate", (1, 1))
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)), layer.strides


def _field(sources, window, step):
    """Receptive field and stride after a layer, from those of its inputs, each ((height, width), (height, width))."""
    field, stride = (tuple(max(source[which][axis] for source in sources) for axis in (0, 1)) for which in (0, 1))
    grown = tuple(f + (w - 1) * s for f, w, s in zip(field, window, stride, strict=True))
    return grown, tuple(a * b for a, b in zip(stride, step, strict=True))
