"""The one base of our preprocessing layers: statistics of the data, found once, kept with the model's weights."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from .base import Shape, Tensor, checked_data_format

CHUNK = 2**22  # numbers that `adapt` holds in float64 at a time, 32 MB


class Preprocessing(keras.layers.Layer):
    """Changes images by statistics of the training data, in training and at inference alike.

    A subclass implements

    - `statistics_shapes(shape)`: name to shape of each statistic, for images of (height, width, channels);
    - `statistics(batches)`: name to array, from batches of float64 images (n, height, width, channels);
    - `transform(images)` and `invert(outputs)`: on float images (n, height, width, channels).

    The statistics are weights that do not train, so `.keras` files, `.weights.h5` files and checkpoints hold them.
    Until `adapt` was called, or weights were loaded, using the layer is an error, also in `fit` and `evaluate`. Where
    a compiled function hides from us whether it was (on JAX: `predict`, one's own `jax.jit`), all outputs are NaN, as
    the statistics are.

    Everything is computed in float32 (float64 under a float64 policy): in half precision, 0-255 images less their
    mean would be rounded to an eighth of a grey level.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        kwargs.setdefault("autocast", False)  # images keep their precision until the statistics have been applied
        super().__init__(**kwargs)
        self.data_format = checked_data_format(data_format, type(self).__name__)
        self.image_shape: Shape = ()  # height, width, channels, from `build` on
        self._flag: keras.Variable | None = None
        self._known = False  # whether the flag was seen to be set

    def statistics_shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """To be implemented by a subclass; see the class."""
        raise NotImplementedError(f"{type(self).__name__} does not implement statistics_shapes(shape).")

    def statistics(self, batches: Iterator[np.ndarray]) -> dict[str, np.ndarray]:
        """To be implemented by a subclass; see the class."""
        raise NotImplementedError(f"{type(self).__name__} does not implement statistics(batches).")

    def transform(self, images: Tensor) -> Tensor:
        """To be implemented by a subclass; see the class."""
        raise NotImplementedError(f"{type(self).__name__} does not implement transform(images).")

    def invert(self, outputs: Tensor) -> Tensor:
        """To be implemented by a subclass; see the class."""
        raise NotImplementedError(f"{type(self).__name__} does not implement invert(outputs).")

    def given(self) -> dict[str, Any] | None:
        """Statistics that the constructor's arguments state, or None where they must come from data."""
        return None

    def build(self, input_shape: Shape) -> None:
        """Makes the weights for images of `input_shape`, with the batch or without."""
        if self._flag is not None:
            return
        if len(input_shape) not in (3, 4):
            raise ValueError(
                f"{type(self).__name__}: expected a batch of images (rank 4) or one image (rank 3), "
                f"received shape {tuple(input_shape)}."
            )
        shape = tuple(input_shape[-3:])
        shape = shape if self.data_format == "channels_last" else (*shape[1:], shape[0])
        if shape[-1] is None:
            raise ValueError(f"{type(self).__name__}: expected a known number of channels, received {input_shape}.")
        given = self.given()
        self.image_shape = shape
        for name, size in self.statistics_shapes(shape).items():
            value = np.full(size, np.nan) if given is None else _spread(given[name], size, name, type(self).__name__)
            setattr(self, f"_{name}", self._constant(name, value))
        self._flag = self._constant("adapted", np.array(given is not None))
        self._known = given is not None
        self.built = True

    def _constant(self, name: str, value: np.ndarray) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=value.shape,
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(value.astype("float32"), dtype),
            dtype="float32",
            trainable=False,
            autocast=False,
        )

    @property
    def adapted(self) -> bool:
        """Whether the layer has its statistics: from `adapt`, from a file, or from its arguments."""
        return bool(self._state()) or self.given() is not None

    def _state(self) -> bool | None:
        """Whether the statistics are there; None where a compiler's tracing hides it."""
        if not self._known:
            flag = None if self._flag is None else _concrete(self._flag)
            if flag is None:
                return False if self._flag is None else None
            self._known = bool(np.size(flag) and flag)  # a variable made within tf.data has no value yet
        return self._known

    def adapt(self, images: Any) -> None:
        """Finds the statistics of the training images, in float64 and in one pass.

        Args:
            images: a batch of them, as the layer takes it (rank 4, any dtype); or an iterable of batches or of single
                images, or of pairs whose first is one, such as a `tf.data.Dataset` of images and labels.
        """
        name = f"{type(self).__name__}.adapt"
        batches = batches_of(images, name, self.data_format)
        first = next(batches, None)
        if first is None:
            raise ValueError(f"{name}: expected images, received none.")
        height, width, channels = first.shape[1:]
        last = self.data_format == "channels_last"
        self.build((None, height, width, channels) if last else (None, channels, height, width))
        expected = self.statistics_shapes((height, width, channels))
        have = {key: tuple(getattr(self, f"_{key}").shape) for key in expected}
        if expected != have:
            raise ValueError(
                f"{name}: expected images of {self.image_shape} (height, width, channels) as the layer was built for, "
                f"received {first.shape[1:]}."
            )
        found = self.statistics(itertools.chain([first], batches))
        for key, value in found.items():
            getattr(self, f"_{key}").assign(value.astype("float32"))
        assert self._flag is not None
        self._flag.assign(np.float32(1))
        self._known = True

    def call(self, images: Tensor) -> Tensor:
        """Images of shape (n, h, w, c) or (h, w, c), any dtype, in; the compute dtype out."""
        return self._apply(images, self.transform, 3)

    def inverse(self, outputs: Tensor) -> Tensor:
        """The images whose `outputs` these are, in the compute dtype."""
        rank = 3 if not self.image_shape else len(self.compute_output_shape((None, *self._own_order()))) - 1
        return self._apply(outputs, self.invert, rank)

    def _own_order(self) -> Shape:
        height, width, channels = self.image_shape
        return (height, width, channels) if self.data_format == "channels_last" else (channels, height, width)

    def _apply(self, inputs: Tensor, function: Any, rank: int) -> Tensor:
        """`function` on a batch with the channels last; a single one gets a batch of its own for the time being."""
        name = type(self).__name__
        if self._state() is False and self.given() is None:
            raise ValueError(
                f"{name}: expected the layer {self.name!r} to know the data, but it was never adapted: "
                "call adapt(training images) or load weights before using it."
            )
        inputs = ops.cast(ops.convert_to_tensor(inputs), self.working_dtype)
        if len(inputs.shape) not in (rank, rank + 1):
            raise ValueError(f"{name}: expected rank {rank + 1}, or {rank} for one, received {tuple(inputs.shape)}.")
        if self._flag is None:
            self.build(tuple(inputs.shape))
        batch = inputs if len(inputs.shape) == rank + 1 else ops.expand_dims(inputs, 0)
        first = self.data_format == "channels_first"
        batch = ops.transpose(batch, (0, 2, 3, 1)) if first and rank == 3 else batch
        outputs = function(batch)
        outputs = ops.transpose(outputs, (0, 3, 1, 2)) if first and len(outputs.shape) == 4 else outputs
        outputs = outputs if len(inputs.shape) == rank + 1 else ops.squeeze(outputs, 0)
        return ops.cast(outputs, self.compute_dtype)

    @property
    def working_dtype(self) -> str:
        """What is computed in."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def weight(self, name: str) -> Tensor:
        """A statistic as a tensor to compute with."""
        return ops.cast(ops.convert_to_tensor(getattr(self, f"_{name}")), self.working_dtype)

    def array(self, name: str) -> np.ndarray:
        """A statistic as a NumPy array."""
        if not self.adapted:
            raise ValueError(f"{type(self).__name__}: expected adapt(training images) first; there is no {name} yet.")
        if self._flag is None:
            raise ValueError(f"{type(self).__name__}: expected the layer to be built, received no images yet.")
        return np.asarray(_concrete(getattr(self, f"_{name}")))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Same shape as the input."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the statistics are weights."""
        return {**super().get_config(), "data_format": self.data_format}


def moments(rows: Iterable[np.ndarray], covariance: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance, or covariance matrix, of float64 (n, features), n at a time; divided by N, not N - 1.

    Each batch is centred on its own mean and then merged (Chan, Golub, LeVeque 1979): sums of squares would cancel.
    """
    count, mean, scatter = 0, np.zeros(()), np.zeros(())
    for block in rows:
        own = block.mean(axis=0)
        centred = block - own
        delta, total = own - mean, count + len(block)
        between = np.outer(delta, delta) if covariance else delta**2
        within = centred.T @ centred if covariance else (centred**2).sum(axis=0)
        scatter = scatter + within + between * (count * len(block) / total)
        mean = mean + delta * (len(block) / total)
        count = total
    return mean, scatter / count


def batches_of(images: Any, name: str, data_format: str) -> Iterator[np.ndarray]:
    """Float64 batches with the channels last, of at most `CHUNK` numbers or one image."""
    if keras.ops.is_tensor(images) or isinstance(images, np.ndarray):
        if len(images.shape) != 4:
            raise ValueError(f"{name}: expected a batch of images (rank 4), received shape {tuple(images.shape)}.")
        images = [images]
    elif not isinstance(images, Iterable) or isinstance(images, str | bytes | dict):
        raise ValueError(f"{name}: expected an array of images or an iterable of batches, received {images!r:.80}.")
    elif hasattr(images, "cardinality") and int(images.cardinality()) == -1:
        raise ValueError(f"{name}: expected a finite data set, received one that repeats for ever: drop .repeat().")
    for element in images:
        batch = element[0] if isinstance(element, list | tuple) and not np.isscalar(element[0]) else element
        batch = keras.ops.convert_to_numpy(batch) if keras.ops.is_tensor(batch) else np.asarray(batch)
        if batch.ndim not in (3, 4) or batch.dtype.kind not in "biufV":
            raise ValueError(
                f"{name}: expected batches of images (rank 4) or images (rank 3), received {batch.dtype} of shape "
                f"{batch.shape}."
            )
        batch = batch if batch.ndim == 4 else batch[None]
        batch = batch if data_format == "channels_last" else np.moveaxis(batch, 1, -1)
        size = max(1, CHUNK // max(1, batch[:1].size))
        for start in range(0, len(batch), size):
            part = batch[start : start + size].astype("float64")
            if not np.isfinite(part).all():
                raise ValueError(f"{name}: expected finite images, received NaN or infinity in them.")
            yield part


def _spread(value: Any, size: tuple[int, ...], name: str, layer: str) -> np.ndarray:
    try:
        return np.broadcast_to(np.asarray(value, "float64"), size)
    except ValueError as error:
        raise ValueError(
            f"{layer}: expected {name} of shape {size} for these images, received {np.shape(value)}."
        ) from error


def _concrete(variable: keras.Variable) -> Any:
    """A variable's value as NumPy, also while TensorFlow traces; None where it has none to be seen."""
    try:
        if keras.backend.backend() != "tensorflow":
            return keras.ops.convert_to_numpy(variable.value)
        import tensorflow as tf

        with tf.init_scope():
            value = variable.value
            return getattr(value, "values", (value,))[0].numpy()  # of a MirroredVariable, the first replica's
    except (AttributeError, TypeError, ValueError, NotImplementedError):
        return None
