"""Batch normalization's statistics, measured for the network as it predicts, not as it trains."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from convcraft.zoo.graphs import is_model

from . import adapt, distribute
from .data import Data

IMAGES = adapt.SAMPLE
BATCH = 128


def recalibrate(model: keras.Model, data: Any, images: int = IMAGES, batch_size: int = BATCH) -> int:
    """Measures means and variances of all batch normalizations anew, on images shown as in prediction.

    In training, moving averages gather what batch normalization sees there. Where the network predicts otherwise than
    it trains, they are wrong: with drop-path, joins average all of their inputs in prediction, one or two in training,
    so what follows has another variance. `zoo.extract_column`, averaged weights and another image size are such cases,
    too. Weights stay as they are.

    Args:
        model: functional or sequential; batch normalizations in models within it are found as well.
        data: a `training.data.Data`, of whose training images some are taken, without augmentation; or an array of
            images (n, height, width, channels), raw as the model takes them.
        images: at most so many.
        batch_size: images at a time; the statistics of a batch stand for all while later layers are measured.

    Returns:
        How many batch normalizations were measured; frozen ones are left alone.

    Raises:
        ValueError: for fewer than 2 images.

    Example:
        >>> net = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.BatchNormalization()])
        >>> x = np.random.default_rng(0).normal(7, 2, (64, 4, 4, 3)).astype("float32")
        >>> recalibrate(net, x)
        1
        >>> bool(abs(float(np.mean(net.layers[0].moving_mean)) - 7) < 0.2)
        True

    Reference:
        Wu, Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv 2105.07576, section 3 (precise batch normalization).
    """
    watched = _watching(model)
    if watched is None:
        return 0
    layers, watching = watched
    x = _images(data, images)
    if len(x) < 2:
        raise ValueError(f"recalibrate: expected at least 2 images, received {len(x)}.")
    total = [np.zeros(1)] * len(layers)
    starts = range(0, len(x) - (len(x) % batch_size == 1), batch_size)  # a batch of one image has no variance
    for start in starts:
        batch = x[start : start + batch_size]
        for name, rows in distribute.answers(watching, batch).items():
            mean, variance = rows[0].astype("float64")
            total[int(name)] = total[int(name)] + len(batch) * np.stack([mean, variance + mean**2])
    for layer in {id(layer): layer for layer in layers}.values():
        parts = [each for each, other in zip(total, layers, strict=True) if other is layer]  # one a call
        mean, square = np.sum(parts, axis=0) / (len(parts) * min(len(x), starts[-1] + batch_size))
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(square - mean**2, 0.0))
    return len({id(layer) for layer in layers})


class PreciseNormalization(keras.callbacks.Callback):
    """Recalibrates batch normalization before each validation, and where there is none, at the end of training.

    For networks that predict otherwise than they train, as those with drop-path; see `recalibrate`. Training itself is
    not changed: there, batch normalization uses the batch's own statistics.

    Args:
        data: a `training.data.Data`, or an array of training images.
        images: at most so many.

    Example:
        >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
        >>> net.compile("sgd", "mse")
        >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        >>> _ = net.fit(x, x[:, :3], verbose=0, callbacks=[PreciseNormalization(x)])
        >>> hidden = np.mean(net.layers[0](x), axis=0)
        >>> bool(np.allclose(net.layers[1].moving_mean, hidden, atol=1e-5))
        True

    Reference:
        As `recalibrate`.
    """

    def __init__(self, data: Any, images: int = IMAGES):
        super().__init__()
        self._data, self._images, self._tested = data, images, False

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Before validation."""
        self._tested = True
        recalibrate(self.model, self._data, self._images)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Where nothing was validated."""
        if not self._tested:
            recalibrate(self.model, self._data, self._images)


def _images(data: Any, most: int) -> np.ndarray:
    """Training images spread over the data, without augmentation."""
    if isinstance(data, Data):
        return np.concatenate(list(adapt.sample(data, most)))
    x = np.asarray(data)
    return x[adapt.spread(len(x), most)]


def _watching(model: keras.Model) -> tuple[list[Any], keras.Model] | None:
    """Its batch normalizations, and a model on the same layers that gives the batch statistics of each."""
    layers: list[Any] = []
    seen: dict[str, Any] = {}

    def call(layer, *args, **kwargs):
        if is_model(layer):
            return _replayed(layer, args[0], call)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            x, seen[str(len(layers))] = _Measured(layer)(args[0])
            layers.append(layer)
            return x
        return layer(*args, **kwargs)

    _replayed(model, model.inputs, call)
    return (layers, keras.Model(model.inputs, seen)) if layers else None


class _Measured(keras.layers.Layer):
    """A batch normalization by the batch's own statistics, which it gives, too, whatever the model is doing."""

    def __init__(self, norm: keras.layers.BatchNormalization):
        super().__init__(dtype=norm.dtype_policy)
        self.norm = norm

    def call(self, inputs):
        rank = len(inputs.shape)
        axes = [axis for axis in range(rank) if axis != self.norm.axis % rank]
        moments = keras.ops.moments(keras.ops.cast(inputs, "float32"), axes)
        # Later layers see what the new statistics will give. By `call`: Keras would hand `training` on to the layers
        # that come next and have no such argument, but layers within. One row of moments, whatever the batch
        return self.norm.call(inputs, training=True), keras.ops.expand_dims(keras.ops.stack(moments), 0)


def _replayed(model: keras.Model, inputs: Any, call: Callable[..., Any]) -> Any:
    """The outputs of a functional model whose layers are called by `call`."""
    graph = getattr(model, "_functional", None) or model
    return graph._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=call)
