"""LSUV: layer-sequential unit-variance initialization (Mishkin & Matas 2016, arXiv 1511.06422)."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from .base import Tensor
from .initialization import kernel_layers, kernels


@dataclass(frozen=True)
class LSUVRow:
    """One layer: its path, the deviation of its output with orthonormal weights and afterwards, and the scalings."""

    name: str
    before: float
    after: float
    iterations: int


@dataclass(frozen=True)
class LSUVReport:
    """What `lsuv` did to each layer, in the order of the forward pass; prints as a table."""

    tolerance: float
    rows: list[LSUVRow]

    @property
    def converged(self) -> bool:
        """Whether every layer's variance is within the tolerance."""
        return all(abs(row.after**2 - 1) <= self.tolerance for row in self.rows)

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows] + [5])
        lines = [f"{'layer':<{width}}  std before  std after  iterations"]
        for row in self.rows:
            lines.append(f"{row.name:<{width}}  {row.before:>10.4g}  {row.after:>9.4g}  {row.iterations:>10}")
        return "\n".join(lines)


def lsuv(
    model: keras.Model, images: Any, tolerance: float = 0.1, max_iterations: int = 10, seed: int = 0
) -> LSUVReport:
    """Initializes a model so that every convolution and dense layer has outputs of unit variance on real images.

    Layer by layer, in the order of the forward pass: orthonormal weights, zero bias, then a scaling of the weights
    until the layer's output, before its activation, has a variance of 1 on `images`. Helps deep nets without
    normalization, with any activation: neither a formula for the number of inputs nor for the activation is needed.
    Where batch normalization follows each layer it changes little. Do not use it on pretrained weights: it replaces
    them (layers that are not trainable are left alone).

    The model is applied as at inference: no dropout, batch normalization with its moving statistics, which are not
    changed; in a new model it is the identity, and the variance is set before it. A layer used several times is scaled
    by the variance of all its outputs together. A separable convolution is scaled by its pointwise kernel.

    Args:
        model: a built Keras model with one input; nested models are entered.
        images: a batch, as the model takes them; a few dozen, since the variance is estimated on them.
        tolerance: of the variance, by which it may differ from 1.
        max_iterations: scalings of one layer at most.
        seed: of the orthonormal weights.

    Returns:
        A report with a row for each layer; `print` shows a table, `.converged` says whether all came within tolerance.

    Raises:
        ValueError: if a layer's output does not vary at all, or is not finite. The model is then as it was.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> x = keras.layers.Conv2D(16, 3, activation="relu", name="conv")(inputs)
        >>> model = keras.Model(inputs, keras.layers.Dense(10, name="head")(keras.layers.Flatten()(x)))
        >>> report = lsuv(model, np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32"))
        >>> report.converged, [row.name for row in report.rows]
        (True, ['conv', 'head'])

    Reference:
        Mishkin & Matas 2016, "All you need is a good init", algorithm 1.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"lsuv: expected tolerance above 0 and below 1, received {tolerance!r}.")
    if isinstance(max_iterations, bool) or not isinstance(max_iterations, int) or max_iterations < 1:
        raise ValueError(f"lsuv: expected max_iterations to be a positive integer, received {max_iterations!r}.")
    images = ops.convert_to_tensor(images)
    if images.shape[0] == 0:
        raise ValueError("lsuv: expected a batch of images, received an empty one.")
    rng = np.random.default_rng(seed)
    candidates = [layer for layer in kernel_layers(model) if layer.trainable]
    uses = _pass(model, candidates, images)  # in the order of the forward pass, without layers that take no part
    if not uses:
        raise ValueError(
            f"lsuv: expected a built model with trainable convolutions or dense layers, received {model.name}."
        )
    touched = [variable for layer in uses for variable in (*kernels(layer), *_biases(layer))]
    backup = [ops.convert_to_numpy(variable) + 0 for variable in touched]
    try:
        for layer in uses:
            _start(layer, rng)
        return _scale(model, uses, images, tolerance, max_iterations)
    except BaseException:
        for variable, value in zip(touched, backup, strict=True):
            variable.assign(value)
        raise


def _start(layer, rng):
    """Orthonormal weights, zero bias."""
    for kernel in kernels(layer):
        kernel.assign(orthonormal(layer, tuple(kernel.shape), rng).astype("float32"))
    for bias in _biases(layer):
        bias.assign(ops.zeros(bias.shape, bias.dtype))


def _scale(model, uses, images, tolerance, most):
    """Scales one layer after the other; the report.

    Without a bias, an output is proportional to the weights: those of all layers that are used once are scaled within
    one forward pass, which goes on with the scaled outputs. A layer that is used again has to be measured as a whole,
    when all layers before it are done, and so has one that the pass that measures all at last finds amiss.
    """
    before: dict[keras.layers.Layer, float] = {}
    times = dict.fromkeys(uses, 0)

    def near(variance):
        return abs(1 - variance) <= tolerance

    def shrink(layer, variance):
        last = kernels(layer)[-1]
        last.assign(ops.convert_to_numpy(ops.cast(last, "float32")) / np.float32(np.sqrt(variance)))
        times[layer] += 1

    def on_the_way(layer, x, array):
        variance = before[layer] = float(np.var(array, dtype="float64"))
        if near(variance) or not _usable(variance):
            return x
        shrink(layer, variance)
        return x / ops.cast(np.sqrt(variance), x.dtype)

    def alone(layer):
        variance = _variance(_pass(model, [layer], images)[layer], layer)
        before.setdefault(layer, variance)
        while not near(variance) and times[layer] < most:
            shrink(layer, variance)
            variance = _variance(_pass(model, [layer], images)[layer], layer)

    for shared, group in itertools.groupby(uses, lambda layer: len(uses[layer]) > 1):
        if shared:
            for layer in group:
                alone(layer)
        else:
            together = list(group)
            _pass(model, together, images, on_the_way)
            for layer in together:
                _check(before[layer], layer)
    variances = {layer: _variance(arrays, layer) for layer, arrays in _pass(model, list(uses), images).items()}
    if not all(near(variance) for variance in variances.values()):  # low precision
        for layer in uses:
            alone(layer)
        variances = {layer: _variance(arrays, layer) for layer, arrays in _pass(model, list(uses), images).items()}
    rows = [
        LSUVRow(layer.path, float(np.sqrt(before[layer])), float(np.sqrt(variances[layer])), times[layer])
        for layer in uses
    ]
    return LSUVReport(tolerance, rows)


def _usable(variance):
    return np.isfinite(variance) and variance >= 1e-20


def _check(variance, layer):
    if not _usable(variance):
        what = "does not vary" if np.isfinite(variance) else "is not finite"
        raise ValueError(
            f"lsuv: the output of {layer.path} {what} over these images (variance {variance:.3g}), and cannot be "
            "scaled. Expected images in the model's range that differ, and no dead layer before it."
        )


def _variance(arrays, layer):
    variance = float(np.var(np.concatenate([array.ravel() for array in arrays]), dtype="float64"))
    _check(variance, layer)
    return variance


def _pass(model, layers, images, change=None) -> dict[keras.layers.Layer, list[np.ndarray]]:
    """What `layers` give before their activation, by layer in the order of the forward pass, for each of their uses.

    `change(layer, x, array)` may replace what the activation receives.
    """
    seen: dict[keras.layers.Layer, list[np.ndarray]] = {}

    def record(layer, x):
        array = ops.convert_to_numpy(ops.cast(x, "float32"))
        seen.setdefault(layer, []).append(array)
        return x if change is None else change(layer, x, array)

    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(_watched(layer, record))
        model(images, training=False)
    return seen


@contextlib.contextmanager
def _watched(layer: keras.layers.Layer, record: Callable[[keras.layers.Layer, Tensor], Tensor]) -> Iterator[None]:
    """Within, `layer` hands what its activation would receive to `record` first; Keras calls a linear one, too."""
    activation = layer.activation

    def spy(x: Tensor) -> Tensor:
        x = record(layer, x)
        return activation(x) if activation is not None else x

    layer.activation = spy
    try:
        yield
    finally:
        layer.activation = activation


def _biases(layer: keras.layers.Layer) -> list[keras.Variable]:
    return [layer.bias] if getattr(layer, "bias", None) is not None else []


def orthonormal(layer: keras.layers.Layer, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A kernel of `shape` whose filters, as rows of weights, are orthonormal, or as nearly as their number allows.

    A kernel is the matrix (height x width x input channels, filters). Depthwise kernels hold one for each channel,
    grouped convolutions one for each group; transposed ones have the last two axes the other way round.
    """
    rank = len(shape) - 2
    transposed = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
    if isinstance(layer, transposed):
        return np.swapaxes(_matrices(1, (*shape[:rank], shape[-1], shape[-2]), rng), -1, -2)
    depthwise = isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D))
    separable = isinstance(layer, (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D))
    if depthwise or (separable and any(size > 1 for size in shape[:rank])):
        channels, filters = shape[-2:]
        return _matrices(channels, (*shape[:rank], channels * filters), rng).reshape(shape)
    return _matrices(getattr(layer, "groups", 1) if rank else 1, shape, rng)


def _matrices(count: int, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """`count` orthonormal matrices side by side, as an array of `shape`, whose last axis counts the columns."""
    rows, columns = int(np.prod(shape[:-1])), shape[-1] // count
    parts = []
    for _ in range(count):
        left, _, right = np.linalg.svd(rng.normal(size=(rows, columns)), full_matrices=False)
        parts.append(left if left.shape == (rows, columns) else right)
    return np.concatenate(parts, axis=1).reshape(shape)
