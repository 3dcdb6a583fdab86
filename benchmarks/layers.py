"""What our layers cost, as ratios against a peer that is timed in turn with them, in one process.

    python benchmarks/layers.py                                   # TensorFlow
    KERAS_BACKEND=jax python benchmarks/layers.py branches        # one part, on another backend

A ratio is the median over rounds of (our time / the peer's time); below 1 ours is faster. Each row goes to
benchmarks/results/layers.csv with device, versions and commit; what is run again replaces its rows.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from timing import BACKEND, ROUNDS, Pair, measure, save, wait  # isort: skip - before Keras: it quiets TensorFlow

import keras
import numpy as np

from convcraft import layers as ours
from convcraft.zoo.fractal import fractal_block

rng = np.random.default_rng(0)


def compiled(function: Callable[[Any], Any], x: np.ndarray) -> Callable[[], Any]:
    """`function(x)` as it runs in a pipeline: a graph on TensorFlow, eager elsewhere."""
    tensor = keras.ops.convert_to_tensor(x)
    if BACKEND != "tensorflow":
        return lambda: function(tensor)
    import tensorflow as tf

    graph = tf.function(function)
    return lambda: graph(tensor)


def augmentation() -> Iterator[Pair]:
    """128 images of 32x32, float32 0-255: as in `dataset.map(layer)`."""
    x = rng.uniform(0, 255, (128, 32, 32, 3)).astype("float32")
    kl = keras.layers
    colour = kl.RandomColorJitter(
        value_range=(0, 255), brightness_factor=0.2, contrast_factor=0.2, saturation_factor=0.2, hue_factor=0.1
    )
    standard = [kl.RandomFlip("horizontal"), kl.RandomTranslation(0.1, 0.1), kl.RandomRotation(0.05), colour]

    def keras_standard(x):
        for layer in standard:
            x = layer(x, training=True)
        return x

    hsv, pca = ours.HSVJitter(seed=0), ours.FancyPCA(seed=0)
    fast = "at most 0.33"
    yield Pair("HSVJitter", "keras RandomColorJitter", compiled(hsv, x), compiled(colour, x), fast)
    yield Pair("FancyPCA", "keras RandomColorJitter", compiled(pca, x), compiled(colour, x), fast)
    yield Pair("FancyPCA", "NumPy, image by image", compiled(pca, x), lambda: numpy_pca(x), "below 1")
    yield Pair("HSVJitter", "NumPy, image by image", compiled(hsv, x), lambda: numpy_hsv(x), "below 1")
    affine = ours.RandomAffine(rotation=18, shift=0.1, flip=True, seed=0)
    three = compiled(lambda x: standard[2](standard[1](standard[0](x, training=True), training=True), training=True), x)
    yield Pair("RandomAffine", "keras flip + translation + rotation", compiled(affine, x), three, "below 1")
    for name in ("light", "standard", "heavy"):
        layer = ours.RandomTransform(name, seed=0)
        yield Pair(f"RandomTransform({name})", "keras flip + shift + rotation + colour", compiled(layer, x),
                   compiled(keras_standard, x), "below 1" if name == "standard" else "")  # fmt: skip
    try:
        import keras_cv
    except ImportError:
        print("keras-cv is not installed: its rows are left out (pip install 'convcraft[keras-cv]').")
        return
    options = {"brightness_factor": 0.2, "contrast_factor": 0.2, "saturation_factor": 0.2, "hue_factor": 0.1}
    theirs = keras_cv.layers.RandomColorJitter(value_range=(0, 255), **options)
    yield Pair("HSVJitter", "keras-cv RandomColorJitter", compiled(hsv, x), compiled(theirs, x), fast)


def numpy_pca(x: np.ndarray) -> np.ndarray:
    """Fancy PCA as practitioners write it."""
    vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    values = np.array([0.2175, 0.0188, 0.0045])
    return np.stack([image + 255 * vectors @ (rng.normal(0, 0.1, 3) * values) for image in x])


def numpy_hsv(x: np.ndarray) -> np.ndarray:
    """HSV jitter with matplotlib's conversions, image by image."""
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    images = []
    for image in x:
        h, s, v = np.moveaxis(rgb_to_hsv(image / 255), -1, 0)
        power, factor = np.exp(rng.uniform(-1.386, 1.386, 2)), np.exp(rng.uniform(-0.357, 0.336, 2))
        shift = rng.uniform(-0.1, 0.1, 3)
        s = np.clip(s ** power[0] * factor[0] + shift[0], 0, 1)
        v = np.clip(v ** power[1] * factor[1] + shift[1], 0, 1)
        images.append(255 * hsv_to_rgb(np.stack([(h + shift[2]) % 1, s, v], -1)))
    return np.stack(images)


def step(make: Callable[[Any], Any], loss: Any = None, optimizer: Any = None, classes: int = 10) -> Callable[[], Any]:
    """One training step of three 3x3 convolutions of 32 channels on 32 images of 24x24, `make` after each."""
    inputs = x = keras.Input((24, 24, 32))
    for _ in range(3):
        x = make(keras.layers.Conv2D(32, 3, padding="same")(x))
    model = keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.GlobalAveragePooling2D()(x)))
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(1e-3, momentum=0.9), loss, jit_compile=BACKEND == "jax")
    images, labels = rng.normal(size=(32, 24, 24, 32)).astype("float32"), rng.integers(0, classes, 32)
    return lambda: model.train_on_batch(images, labels)


def activations() -> Iterator[Pair]:
    """Training steps against the plain operation that a layer replaces."""
    kl, aim = keras.layers, "at most 1.3"
    relu = step(kl.ReLU())
    yield Pair("RReLU", "ReLU", step(lambda x: ours.RReLU(seed=0)(x)), relu, aim)
    yield Pair("RReLU.paper", "ReLU", step(lambda x: ours.RReLU.paper(seed=0)(x)), relu, aim)
    yield Pair("Maxout(16)", "ReLU", step(lambda x: ours.Maxout(16)(x)), relu, aim)
    yield Pair("prelu0.1", "ReLU", step(lambda x: ours.activation("prelu0.1")(x)), relu, aim)
    yield Pair("DropPath", "Dropout", step(lambda x: ours.DropPath(0.2)(x)), step(lambda x: kl.Dropout(0.2)(x)), aim)
    two = step(lambda x: kl.Average()([x, kl.ReLU()(x)]))
    join = step(lambda x: ours.FractalJoin(global_drop_path=0.0, seed=0)([x, kl.ReLU()(x)]))
    yield Pair("FractalJoin", "Average", join, two, aim)
    freeze = step(lambda x: ours.FreezeDropPath(seed=0)([x, kl.ReLU()(x)]))
    yield Pair("FreezeDropPath, masked", "Add", freeze, step(lambda x: kl.Add()([x, kl.ReLU()(x)])), aim)
    lrn = step(lambda x: ours.LocalResponseNormalization(2)(x))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        theirs = step(lambda x: kl.Lambda(lambda t: tf.nn.local_response_normalization(t, 2))(x))
        yield Pair("LocalResponseNormalization", "tf.nn.local_response_normalization", lrn, theirs, "below 1")
    wide = {"filters": 32, "kernel_size": 3, "padding": "same", "groups": 2}
    grouped = step(lambda x: ours.GroupedConv2D(**wide)(x))
    yield Pair("GroupedConv2D", "Conv2D(groups=2)", grouped, step(lambda x: kl.Conv2D(**wide)(x)), "at most 1.3")
    boot = step(kl.ReLU(), loss=ours.BootstrappedCrossentropy("soft"), classes=1000)
    yield Pair("BootstrappedCrossentropy, 1000 classes", "SparseCategoricalCrossentropy", boot,
               step(kl.ReLU(), classes=1000), aim)  # fmt: skip
    frozen = step(kl.ReLU(), optimizer=ours.Freezable(keras.optimizers.SGD(1e-3, momentum=0.9)))
    yield Pair("Freezable(SGD)", "SGD", frozen, relu, aim)


COLUMNS = 4
CONVOLUTIONS = 2**COLUMNS - 1
SHARE = [2 ** (COLUMNS - 1 - column) / CONVOLUTIONS for column in range(COLUMNS)]  # of column 0, the deepest, to 3


def fractal_net(make: type, **compile_options: Any) -> keras.Model:
    """A fractal block of four columns: 15 convolutions of 24 channels at 24x24, one column a batch."""
    keras.utils.set_random_seed(1)

    def conv(x, name):
        x = keras.layers.Conv2D(24, 3, padding="same", use_bias=False, name=name)(x)
        return keras.layers.ReLU(name=f"{name}_act")(ours.BatchNormalization(name=f"{name}_norm")(x))

    inputs = keras.Input((24, 24, 24))
    path = ours.FractalPath(COLUMNS, global_drop_path=1.0, seed=0, name="path")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(fractal_block(inputs, COLUMNS, conv, "block", path=path))
    model = make(inputs, keras.layers.Dense(10)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, **compile_options)
    return model


class Clock(keras.callbacks.Callback):
    """Seconds of each step, the first of each choice left out: it compiles."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Reads it, once the step is done."""
        wait(logs)
        self.times.append(time.perf_counter() - self.start)


def branches(jit: bool = False) -> tuple[float, float, float]:
    """Mean step of `Model.fit` that computes the column alone against masking, and the ideal, for the same columns."""
    images, labels = rng.normal(size=(320, 24, 24, 24)).astype("float32"), rng.integers(0, 10, 320)
    times = {}
    models = {make: fractal_net(make, jit_compile=jit) for make in (ours.Model, keras.Model)}
    path = models[ours.Model].get_layer("path")
    columns = np.array([path.foresee(0, n) - 1 for n in range(60)])
    clocks = {make: Clock() for make in models}
    for _ in range(6):  # in turn: ten steps of one, ten of the other
        for make, model in models.items():
            model.fit(images, labels, batch_size=32, epochs=1, shuffle=False, verbose=0, callbacks=[clocks[make]])
    first = {int(np.flatnonzero(columns == column)[0]) for column in range(COLUMNS)}
    counted = [n for n in range(60) if n not in first and n != 0]
    for make, clock in clocks.items():
        for column in range(COLUMNS):
            times[make, column] = statistics.median(clock.times[n] for n in counted if columns[n] == column)
    skipped, masked = (np.mean([times[make, c] for c in range(COLUMNS)]) for make in (ours.Model, keras.Model))
    for c in range(COLUMNS):
        print(f"  column {c}: {1000 * times[ours.Model, c]:.1f} ms; masked {1000 * times[keras.Model, c]:.1f}")
    return float(skipped / masked), float(1000 * skipped), float(1000 * masked)


PARTS = {"augmentation": augmentation, "activations": activations}


def rows(part: str) -> Iterator[list[Any]]:
    """Measured rows of the results."""
    if part == "branches":
        for jit in [False, True] if BACKEND == "tensorflow" else [BACKEND == "jax"]:
            ratio, one, other = branches(jit)
            kind = BACKEND + (" XLA" if jit and BACKEND == "tensorflow" else "")
            aim = f"at most {1.3 * np.mean(SHARE):.3f}" if kind == "tensorflow" else ""
            yield [part, "one column of four computed", "masked", kind, ratio, one, other, aim, 60]
        return
    for pair in PARTS[part]():
        yield [part, pair.ours, pair.peer, BACKEND, *measure(pair), pair.aim, ROUNDS]


def main(parts: list[str]) -> None:
    """Measures, prints, and replaces the rows of these parts and this backend."""
    unknown = [part for part in parts if part not in (*PARTS, "branches")]
    if unknown:
        sys.exit(f"Expected parts among {', '.join((*PARTS, 'branches'))}; received {unknown[0]}.")
    for part in parts or [*PARTS, "branches"]:
        save("layers", rows(part))


if __name__ == "__main__":
    main(sys.argv[1:])
