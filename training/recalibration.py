"""Batch normalization's statistics, measured for the network as it predicts, not as it trains."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from . import distribute
from .data import Data

IMAGES = 2048
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
    total: dict[str, Any] = {}
    starts = range(0, len(x) - (len(x) % batch_size == 1), batch_size)  # a batch of one image has no variance
    for start in starts:
        batch = x[start : start + batch_size]
        for name, rows in distribute.answers(watching, batch).items():
            mean, variance = rows[0].astype("float64")  # the same in each row
            parts = len(batch) * np.stack([mean, variance + mean**2])
            total[name] = total.get(name, 0.0) + parts
    count = min(len(x), starts[-1] + batch_size)
    for name, layer in layers.items():
        mean, square = total[name] / count
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(square - mean**2, 0.0))
    return len(layers)


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
        >>> bool(abs(net.predict(x, verbose=0).mean()) < 1e-5)
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
        if not data.sources:
            return data.arrays("train")[0][:most]
        source = data.sources["train"]
        return source.batch(np.unique(np.linspace(0, len(source) - 1, min(most, len(source))).round().astype("int64")))[0]
    data = np.asarray(data)
    return data[np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).round().astype("int64"))] if len(data) else data


def _watching(model: keras.Model) -> tuple[dict[str, Any], keras.Model] | None:
    """Batch normalizations by name, and a model on the same layers that gives each one's batch statistics."""
    layers: dict[str, Any] = {}
    seen: dict[str, Any] = {}

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            inner = keras.models.clone_model(layer, clone_function=_same, call_function=call)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            name = f"{len(layers)}"
            layers[name] = layer
            axes = [axis for axis in range(len(args[0].shape)) if axis != layer.axis % len(args[0].shape)]
            x = keras.ops.cast(args[0], "float32")
            mean, variance = keras.ops.moments(x, axes)
            seen[name] = keras.ops.stack([mean, variance])[None]
            return layer(*args, **{**kwargs, "training": True})
        return layer(*args, **kwargs)

    again = keras.models.clone_model(model, clone_function=_same, call_function=call)
    return (layers, keras.Model(again.inputs, seen)) if layers else None


def _same(layer):
    return layer
