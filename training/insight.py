"""Looks into a trained network for its report: class activation maps, first filters, gradients by depth."""

import os
from typing import Any

import keras
import numpy as np

from convcraft.layers import ClassNames
from convcraft.layers.base import to_numpy
from convcraft.zoo.graphs import is_model

from . import heads
from .data import Data, Source
from .diagnosis.monitor import gradient_norms

FILTERS = 64  # that the report shows
PROBE = 64  # images for the gradients, fewer of large ones: a step keeps all that it computes
PIXELS = PROBE * 96 * 96
KINDS = keras.layers
# between the classes' scores and the output: they change no order of the classes, and nothing at all at inference
PASSING = (ClassNames, KINDS.Dropout, KINDS.SpatialDropout2D, KINDS.Softmax, KINDS.GaussianNoise)


def look(model: keras.Model, data: Data, images: np.ndarray, classes: np.ndarray | None) -> dict[str, Any]:
    """What a run's predictions.npz holds of the network itself.

    Whatever goes wrong here says so in `unseen`, and costs a section of the report, not the run.

    Args:
        model: the run's, raw images to logits.
        data: of the run, for a few training images.
        images: those that the report shows.
        classes: (n, k), of each image those whose evidence to show; None for what has no class an image.

    Returns:
        Arrays by name, those that there are: `filters` and `filters_layer`; `gradients` and `gradient_layers`;
        `maps` and `map_classes`.
    """
    found: dict[str, Any] = {}
    try:
        if (first := first_filters(model)) is not None:
            found |= {"filters_layer": np.array(first[0]), "filters": first[1][..., :FILTERS]}
        if getattr(model, "inputs", None) and model.trainable_weights and data.sources:
            norms = _gradients(model, data.sources["train"])
            found |= {"gradient_layers": np.array(list(norms)), "gradients": np.array(list(norms.values()))}
        if classes is not None and len(images) and (maps := class_activation_maps(model, images, classes)) is not None:
            found |= {"maps": maps.astype("float16"), "map_classes": classes}
    except Exception as error:  # of a network that nobody foresaw
        if os.environ.get("CONVCRAFT_DEBUG"):
            raise
        found["unseen"] = np.array(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return found


def class_activation_maps(model: keras.Model, images: Any, classes: np.ndarray) -> np.ndarray | None:
    """Where in an image the evidence for a class lies.

    Of networks that average their last maps and weigh the means, or average a map for each class: the maps, so weighed.
    Of others, as those that flatten their maps: the last maps, each place weighed by the gradient of the class's logit.
    Where what follows the maps is linear, both are the same, and the mean of a map over its places, and the class's
    offset, are the class's logit.

    Args:
        model: functional, from images to classes; on every backend.
        images: (n, height, width, channels).
        classes: (n, k), integers: of each image those to map.

    Returns:
        float32 (n, k, rows, columns); None for a network without a last map, as one of several models.

    Example:
        >>> from convcraft import zoo
        >>> net = zoo.create("resnet20_cifar", classes=3)
        >>> class_activation_maps(net, np.zeros((2, 32, 32, 3), "float32"), np.array([[0, 1], [2, 2]])).shape
        (2, 2, 8, 8)

    Reference:
        Zhou, Khosla, Lapedriza, Oliva, Torralba 2016, "Learning Deep Features for Discriminative Localization",
        section 2, arXiv 1512.04150; by gradients: Draelos, Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful
        explanations of convolutional neural networks", equation 3, arXiv 2011.08891.
    """
    ends = _ends(model)
    tensor, dense = ends if ends else (_last_maps(model), None)
    if tensor is None:
        return None
    features = keras.Model(model.inputs[0], tensor)
    values = to_numpy(features(keras.ops.convert_to_tensor(np.asarray(images, "float32")), training=False))
    values = np.asarray(values, "float32")
    if ends is None:
        rest = keras.Model(tensor, model.outputs[0])
        found = [(values * _gradient(rest, values, chosen)).sum(axis=-1) for chosen in np.asarray(classes).T]
        return np.stack(found, axis=1) * np.float32(np.prod(values.shape[1:3]))
    if dense is None:  # a map for each class
        return np.stack([value[..., chosen].transpose(2, 0, 1) for value, chosen in zip(values, classes, strict=True)])
    kernel = np.asarray(to_numpy(dense.kernel), "float32")
    return np.einsum("nhwc,cnk->nkhw", values, kernel[:, classes])


def _ends(model: keras.Model) -> tuple[Any, Any] | None:
    """The last maps, and the dense layer behind their mean or None where each is a class's; None for other ends."""
    if len(getattr(model, "outputs", None) or ()) != 1:
        return None
    operation, before = _before(model.outputs[0])
    dense = None
    if isinstance(operation, KINDS.Dense) and _is_linear(operation):
        dense = operation
        operation, before = _before(before)
    if not isinstance(operation, KINDS.GlobalAveragePooling2D) or operation.data_format != "channels_last":
        return None
    return before, dense


def _last_maps(model: keras.Model) -> Any:
    """The last maps of a network that ends in a chain of layers; None of any other."""
    outputs: Any = getattr(model, "outputs", None) or ()
    if len(outputs) != 1 or len(model.inputs) != 1 or keras.config.image_data_format() != "channels_last":
        return None
    tensor = outputs[0]
    while len(tensor.shape) != 4 or tuple(tensor.shape[1:3]) == (1, 1):
        operation, tensor = _before(tensor)
        if tensor is None or is_model(operation):
            return None
    return tensor


def _gradient(rest: keras.Model, maps: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Of each image's logit of a class by each place of its maps."""
    ops, logits = keras.ops, _gives_logits(rest)

    def total(x: Any) -> Any:
        outputs = rest(x, training=False)
        outputs = outputs if logits else ops.log(ops.maximum(outputs, keras.config.epsilon()))
        return ops.sum(ops.take_along_axis(outputs, ops.convert_to_tensor(chosen[:, None].astype("int32")), axis=1))

    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(total)(maps), "float32")
    x = ops.convert_to_tensor(maps)
    if keras.backend.backend() == "torch":
        import torch

        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            return to_numpy(torch.autograd.grad(total(x), x)[0])
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        score = total(x)
    return to_numpy(tape.gradient(score, x))


def _gives_logits(model: keras.Model) -> bool:
    try:
        return heads.find(model, "softmax").logits
    except ValueError:
        return True


def _before(tensor: Any) -> tuple[Any, Any]:
    """The layer that a tensor comes from, those that only pass it on left out, and what goes into that layer."""
    while True:
        operation, index, _ = tensor._keras_history
        node = operation._inbound_nodes[index]
        if len(node.input_tensors) != 1:
            return operation, None
        passes = isinstance(operation, PASSING) or (isinstance(operation, KINDS.Activation) and _is_linear(operation))
        if not passes:
            return operation, node.input_tensors[0]
        tensor = node.input_tensors[0]


def _is_linear(layer: Any) -> bool:
    """Whether an activation leaves the order of the classes as it is."""
    return layer.activation in (keras.activations.linear, keras.activations.softmax, None)


def first_filters(model: keras.Model) -> tuple[str, np.ndarray] | None:
    """The kernels that see the image itself.

    Args:
        model: any built one.

    Returns:
        The name of the first convolution and its kernels, float32 (height, width, 1 or 3, filters); None where the
        first one sees something else, or single pixels.

    Example:
        >>> from convcraft import zoo
        >>> name, kernels = first_filters(zoo.create("resnet20_cifar", classes=3))
        >>> kernels.shape
        (3, 3, 3, 16)
    """
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, KINDS.Conv2D) and not is_model(layer) and layer.built:
            kernel = np.asarray(to_numpy(layer.kernel), "float32")
            shows = kernel.shape[2] in (1, 3) and min(kernel.shape[:2]) > 1
            return (layer.name, kernel) if shows else None
    return None


def _gradients(model: keras.Model, images: Source) -> dict[str, float]:
    """Layer to the norm of its gradient, as `Monitor` has it, on a few training images."""
    height, width, _ = images.image_shape
    count = min(PROBE, max(8, PIXELS // (height * width)))
    rows = np.random.default_rng(0).permutation(len(images))[:count]  # folders come class by class
    trial = keras.Model(model.input, model.output, name=f"{model.name}_trial")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # a single step: TensorFlow's takes longer to compile than to do
    eager = keras.backend.backend() == "tensorflow"
    trial.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False, run_eagerly=eager)
    return gradient_norms(trial, *images.batch(np.sort(rows)))
