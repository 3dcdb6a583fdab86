"""Layers of networks in plain NumPy and double precision, for forward passes that are not our code."""

import numpy as np


def convolve(x, kernel, stride=1, pad=0, groups=1):
    """Cross-correlation with symmetric zero padding; the kernel is HWIO."""
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (1, 2))[:, ::stride, ::stride]
    inputs, outputs = kernel.shape[2], kernel.shape[3] // groups
    return np.concatenate(
        [
            np.einsum(
                "bhwcij,ijco->bhwo",
                windows[:, :, :, g * inputs : (g + 1) * inputs],
                kernel[..., g * outputs : (g + 1) * outputs],
                optimize=True,
            )
            for g in range(groups)
        ],
        -1,
    )


def pool(x, size, stride=2, reduce=np.max, ceil=False):
    """Windows reduced; a last one that hangs over the edge is left out, or with `ceil` cut off, as Caffe does."""
    high, wide = (int((np.ceil if ceil else np.floor)((n - size) / stride)) + 1 for n in x.shape[1:3])
    rows = [
        [reduce(x[:, i * stride : i * stride + size, j * stride : j * stride + size], axis=(1, 2)) for j in range(wide)]
        for i in range(high)
    ]
    return np.stack([np.stack(row, 1) for row in rows], 1)


def deconvolve(x, factor, pad=0):
    """Caffe's transposed convolution with its "bilinear" kernel: each pixel adds its kernel to the canvas."""
    size = 2 * factor - factor % 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - np.abs(np.arange(size) - centre) / factor
    n, h, w, c = x.shape
    canvas = np.zeros((n, (h - 1) * factor + size, (w - 1) * factor + size, c))
    for i in range(h):
        for j in range(w):
            spot = canvas[:, i * factor : i * factor + size, j * factor : j * factor + size]
            spot += np.outer(line, line)[None, :, :, None] * x[:, i : i + 1, j : j + 1]
    return canvas[:, pad : canvas.shape[1] - pad, pad : canvas.shape[2] - pad]


def interpolate(x, factor):
    """Between the old pixels' centres; beyond the first and the last these are repeated."""
    for axis in (1, 2):
        n = x.shape[axis]
        places = (np.arange(n * factor) + 0.5) / factor - 0.5
        x = np.apply_along_axis(lambda line, n=n, places=places: np.interp(places, np.arange(n), line), axis, x)
    return x


def relu(x):
    """The positive part."""
    return np.maximum(x, 0)


def respond(x, bias, alpha, radius=2, beta=0.75):
    """Local response normalization over neighbouring channels."""
    squares = np.pad(x**2, [(0, 0)] * 3 + [(radius, radius)])
    sums = sum(squares[..., shift : shift + x.shape[-1]] for shift in range(2 * radius + 1))
    return x / (bias + alpha * sums) ** beta


class Net:
    """A model's weights by layer, in double precision, and what can be computed with them."""

    def __init__(self, model):
        self.weights = {la.name: [w.astype("float64") for w in la.get_weights()] for la in model.layers if la.weights}

    def conv(self, x, name, stride=1, pad=None, groups=1):
        """Convolution, normalization if there is one, ReLU; unless said otherwise padded to keep the size."""
        kernel, *bias = self.weights[name]
        x = convolve(x, kernel, stride, kernel.shape[0] // 2 if pad is None else pad, groups)
        x = x + bias[0] if bias else x
        if f"{name}_norm" in self.weights:
            gamma, beta, mean, variance = self.weights[f"{name}_norm"]
            x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
        return relu(x)

    def dense(self, x, name):
        """A dense layer on flattened images, without an activation."""
        kernel, bias = self.weights[name]
        return x.reshape(len(x), -1) @ kernel + bias
