"""Are faults found before training? Planted ones, and set-ups without any, before `training.check`.

    python benchmarks/checks.py [--seeds 3]    plants and checks what has no row yet, writes table and picture
    python benchmarks/checks.py --draw         writes table and picture of docs/checks.md from the rows

Small networks on the embedded digits, 16x16, unless a row says otherwise; sets that are not on this machine are left
out. The rows are in benchmarks/results/checks.csv; seconds are those of the processor, of all cores together.
"""

import argparse
import csv
import functools
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np
from marks import between

from convcraft import training, zoo
from convcraft.training import common
from convcraft.training.checking import data_faults
from convcraft.training.checking.overfitting import Trial, few
from convcraft.training.checking.samples import sampled

ROOT = pathlib.Path(__file__).parents[1]
ROWS = pathlib.Path(__file__).with_name("results") / "checks.csv"
PAGE = ROOT / "docs" / "checks.md"
PICTURE = ROOT / "docs" / "pictures" / "checks.png"
BLUE, RED = "#1f5a9e", "#b3402a"
HEADER = ["kind", "expected", "seed", "found", "number", "seconds"]
CLEAN = "nothing wrong"
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@functools.cache
def digits(seed):
    """Embedded digits as arrays: x, y, and those to validate on."""
    data = training.data.load("digits", size=16, seed=seed)
    return *data.arrays("train"), *data.arrays("val")


def net(shape=(16, 16, 1), optimizer=None, loss=LOGITS, rescale=(1 / 127.5, -1), init="he_normal", last=None, **kinds):
    """Convolutions with normalization, as people write them."""
    x = inputs = keras.Input(shape)
    if rescale:
        x = keras.layers.Rescaling(*rescale)(x)
    for number in range(max(2, kinds.get("pools", 2))):
        start = kinds.get("bias", "zeros")
        x = keras.layers.Conv2D(16, 3, padding="same", kernel_initializer=init, bias_initializer=start)(x)
        x = keras.layers.BatchNormalization()(x) if kinds.get("normal", True) else x
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D()(x) if number < kinds.get("pools", 2) else x
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
    x = keras.layers.Dense(kinds.get("classes", 10), last, kernel_initializer=init)(x)
    model = keras.Model(inputs, x)
    model.trainable = kinds.get("trainable", True)
    model.compile(
        optimizer() if optimizer else keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"], jit_compile=False
    )
    return model


def on_digits(change=lambda x, y, seed: (x, y), both=False, **options):
    """A set-up on the digits whose images and labels are changed; and validation, where `both`."""

    def make(seed):
        x, y, x_val, y_val = digits(seed)
        validation = change(x_val, y_val, seed) if both else (x_val, y_val)
        return net(**options), change(x, y, seed), validation

    return make


def shuffled(x, y, seed):
    """Labels that belong to other images."""
    return x, np.random.default_rng(seed).permutation(y)


def leaking(seed):
    """A tenth of validation stands in training."""
    x, y, x_val, y_val = digits(seed)
    return net(), (np.concatenate([x, x_val[:14]]), np.concatenate([y, y_val[:14]])), (x_val, y_val)


def lacking(seed):
    """No seven to train on."""
    x, y, x_val, y_val = digits(seed)
    return net(), (x[y != 7], y[y != 7]), (x_val, y_val)


def broken(x, y, seed):
    """A pixel of a few images is no number."""
    x = x.copy()
    x[np.random.default_rng(seed).permutation(len(x))[:40], 3, 3] = np.nan
    return x, y


def blank(x, y, seed):
    """Every tenth image is black."""
    x = x.copy()
    x[seed % 10 :: 10] = 0
    return x, y


def odd(x, y, seed):
    """14 pixels, of which three poolings leave one."""
    return x[:, 1:15, 1:15], y


def replicas(seed):
    """1,293 images in batches of 4 over two devices: one is left over."""
    import tensorflow as tf

    devices = [device.name for device in tf.config.list_logical_devices("CPU")[:2]]
    x, y, *validation = digits(seed)
    with tf.distribute.MirroredStrategy(devices).scope():
        return net(), (x, y), tuple(validation), {"batch_size": 4, "steps": 0}


def of_zoo(name, source="digits", size=32, rate=0.02, **options):
    """A network of the zoo on a set, as our recipes compile it."""

    def make(seed):
        data = training.data.load(source, size=size, seed=seed, batch_size=64)
        config = training.Common(learning_rate=rate, optimizer=options.get("optimizer", "momentum"))
        design = zoo.Design(**options.get("design", {}))
        model = zoo.create(name, classes=data.class_names, input_shape=data.image_shape, design=design)
        model.compile(training.optimizer(config, 1000), LOGITS, weighted_metrics=["accuracy"], jit_compile=False)
        return model, data, None, {"steps": options.get("steps")}

    make.source = source
    return make


def stream(seed):
    """The user's own tf.data."""
    import tensorflow as tf

    x, y, x_val, y_val = digits(seed)
    sets = (
        tf.data.Dataset.from_tensor_slices((x, y)).shuffle(1000, seed=seed).batch(32)
        for x, y in ((x, y), (x_val, y_val))
    )
    return net(), *sets


def one_hot(x, y, seed):
    """Rows in place of numbers."""
    return x, np.eye(10, dtype="float32")[y]


CATEGORICAL = keras.losses.CategoricalCrossentropy(from_logits=True)
TAKEN = "logits taken for probabilities"
KINDS: dict[str, tuple[str, Callable]] = {
    "labels shuffled": ("labels look shuffled", on_digits(shuffled)),
    "labels from 1 to 10": ("labels out of range", on_digits(lambda x, y, s: (x, y + 1), both=True)),
    "one-hot labels, sparse loss": ("labels do not fit the loss", on_digits(one_hot, both=True)),
    "numbers, categorical loss": ("labels do not fit the loss", on_digits(loss=CATEGORICAL)),
    "no seven to train on": ("class missing from a split", lacking),
    "a tenth of validation in training": ("the same images in two splits", leaking),
    "one class": ("one class", on_digits(lambda x, y, s: (x[y == 1], y[y == 1]))),
    "NaN in 40 images": ("no numbers in the images", on_digits(broken)),
    "every tenth image black": ("some blank images", on_digits(blank)),
    "all images black": ("blank images", on_digits(lambda x, y, s: (0 * x, y))),
    "images 0 to 1, network for 0-255": ("images of another range", on_digits(lambda x, y, s: (x / 255, y))),
    "images -1 to 1, network for 0-255": ("images of another range", on_digits(lambda x, y, s: (x / 127.5 - 1, y))),
    "images 0-255, not scaled": ("images are not scaled", on_digits(rescale=None, normal=False)),
    "14 pixels, three poolings": ("image size does not divide", on_digits(odd, shape=(14, 14, 1), pools=3)),
    "a last batch of one on two devices": ("last batch smaller than the devices", replicas),
    "first weights all 0": ("all units alike", on_digits(init="zeros", normal=False)),
    "first weights all 0.01": ("all units alike", on_digits(init=keras.initializers.Constant(0.01))),
    "everything frozen": ("everything is frozen", on_digits(trainable=False)),
    "softmax twice": ("softmax twice", on_digits(last="softmax")),
    "no softmax": (TAKEN, on_digits(loss=keras.losses.SparseCategoricalCrossentropy())),
    "rate 1000 times too high": (
        "learning rate too high",
        on_digits(optimizer=lambda: keras.optimizers.SGD(50.0, momentum=0.9), normal=False),
    ),
    "Adam, rate 1000 times too high": (
        "learning rate too high",
        on_digits(optimizer=lambda: keras.optimizers.Adam(3.0), normal=False),
    ),
    "rate 10,000 times too low": (
        "learning rate too low",
        on_digits(optimizer=lambda: keras.optimizers.SGD(5e-6, momentum=0.9), normal=False),
    ),
    "first biases of -3": ("dead units", on_digits(bias=keras.initializers.Constant(-3.0), normal=False)),
    "first weights of deviation 1": (
        "loss at start too high",
        on_digits(init=keras.initializers.RandomNormal(stddev=1.0), normal=False),
    ),
    "digits, arrays": (CLEAN, on_digits()),
    "digits, arrays, momentum": (CLEAN, on_digits(optimizer=lambda: keras.optimizers.SGD(0.05, momentum=0.9))),
    "digits, one-hot": (CLEAN, on_digits(one_hot, both=True, loss=CATEGORICAL)),
    "digits, softmax": (CLEAN, on_digits(last="softmax", loss="sparse_categorical_crossentropy")),
    "digits, tf.data": (CLEAN, stream),
    "digits, SqueezeNet": (CLEAN, of_zoo("squeezenet_cifar", design={"normalization": "batch", "stem_stride": 2})),
    "digits, VGG": (CLEAN, of_zoo("vgg_cifar", design={"width": 0.25}, rate=0.01)),
    "MNIST, plain CNN": (CLEAN, of_zoo("plain_cnn", "mnist", 32, rate=2e-3, optimizer="adam")),
    "CIFAR-10, plain CNN": (CLEAN, of_zoo("plain_cnn", "cifar10_jpeg", None, rate=2e-3, optimizer="adam")),
    "CIFAR-10, ResNet-20, steps=0": (CLEAN, of_zoo("resnet20_cifar", "cifar10_jpeg", None, rate=0.1, steps=0)),
    "Tiny ImageNet-80, ResNet-18, steps=0": (
        CLEAN,
        of_zoo("resnet18", "tinyimagenet80", None, design={"width": 0.25}, rate=0.1, steps=0),
    ),
    "Tiny ImageNet-80, GoogLeNet, steps=0": (
        CLEAN,
        of_zoo("googlenet", "tinyimagenet80", None, design={"width": 0.5, "stem_stride": 1}, rate=0.01, steps=0),
    ),
}


def main():
    """Plants, checks, keeps rows, writes table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed; from 100 on nothing is kept")
    parser.add_argument("--only", default="", help="kinds whose name or expected finding contains this")
    parser.add_argument("--draw", action="store_true", help="only write table and picture")
    options = parser.parse_args()
    rows = _read()
    done = {(row["kind"], row["seed"]) for row in rows}
    _two_devices()
    for seed in range(options.first, options.first + options.seeds if not options.draw else 0):
        for kind, (expected, make) in KINDS.items():
            here = options.only in f"{kind} | {expected}" and common.at_hand(getattr(make, "source", "digits"))
            if here and (kind, seed) not in done:
                rows.append(checked(kind, expected, make, seed, options.first >= 100))
                if options.first < 100:
                    _write(rows)
    if options.first >= 100:
        return
    PAGE.write_text(between(PAGE.read_text(), "checks", "benchmarks/checks.py", table(rows)))
    keras.utils.set_random_seed(0)
    draw()


def checked(kind, expected, make, seed, verbose=False):
    """A row: what `check` says of a set-up."""
    keras.utils.set_random_seed(seed)
    model, data, *rest = make(seed)
    options = rest.pop() if rest and isinstance(rest[-1], dict) else {}
    began = time.process_time()
    done = training.check(model, data, *rest, **options)
    seconds = round(time.process_time() - began, 2)
    number = done.findings[0].number if done.findings else ""
    row = dict(zip(HEADER, (kind, expected, seed, "; ".join(done.names) or CLEAN, number, seconds), strict=True))
    right = "" if row["found"] == expected else "   <-- WRONG"
    print(f"{kind} | {row['found']} | {seconds} s{right}", flush=True)
    if verbose:
        print("    ", done, {key: (values[0], values[-1], len(values)) for key, values in done.history.items()})
    return row


def table(rows):
    """Markdown: each fault, its finding, how often it came first, and one of the numbers it rested on."""
    planted = [row for row in rows if row["expected"] != CLEAN]
    clean = [row for row in rows if row["expected"] == CLEAN]
    right = sum(row["found"].split("; ")[0] == row["expected"] for row in planted)
    alone = sum(row["found"] == row["expected"] for row in planted)
    quiet = sum(row["found"] == CLEAN for row in clean)
    seeds, count = len({row["seed"] for row in rows}), len({row["kind"] for row in planted})
    lines = [
        f"{right} of {len(planted)} planted faults are found by name, {alone} of them with no other finding beside it, "
        f"in {seeds} seed{'s' * (seeds > 1)} of {count} kinds; {quiet} of {len(clean)} checks of clean set-ups find "
        f"nothing. A check took {np.median([float(row['seconds']) for row in rows]):.1f} s of processor time (median).",
        "",
        "| set-up | finding | found | rests on, for example |",
        "|---|---|--:|---|",
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        hits = sum(row["found"].split("; ")[0] == row["expected"] for row in own)
        said = own[0]["number"].replace("|", "/")
        lines.append(f"| {kind} | {own[0]['expected']} | {hits} of {len(own)} | {said} |")
    return "\n".join(lines)


def draw():
    """What two of the checks rest on: neighbours' labels on each set, and a few images learned at three rates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    sets = [
        name for name in ("digits", "mnist", "sign_digits", "cifar10_jpeg", "tinyimagenet80") if common.at_hand(name)
    ]
    for number, name in enumerate(sets):
        x, y = sampled(training.data.load(name, size=64 if name == "sign_digits" else None)).train
        drawn = [np.random.default_rng(seed).permutation(y) for seed in range(3)]
        for labels, color in ((y, BLUE), *((labels, RED) for labels in drawn)):
            left.plot([data_faults.agreement(x, labels)[0]], [number], "o", color=color, alpha=0.7)
    left.axvline(data_faults.LIKELY, color="0.6", linestyle=":")
    left.set_xscale("symlog", linthresh=5)
    ticks = [-4, 0, 4, 10, 100]
    left.set(yticks=range(len(sets)), yticklabels=sets, xlabel="deviations above chance", xlim=(-6, 600))
    left.set_xticks(ticks, [str(tick) for tick in ticks])
    left.set_title("Neighbours' labels agree: true blue, shuffled red", fontsize=9)
    model = net(optimizer=lambda: keras.optimizers.SGD(0.05, momentum=0.9), normal=False)
    x, y, *_ = digits(0)
    trial = Trial(model, *few(x, y, 16))
    for rate, color in ((0.05, BLUE), (50.0, RED), (5e-6, "0.5")):
        losses = np.minimum(np.nan_to_num(trial.learn(rate, 100)["loss"], nan=1e4), 1e4)
        right.plot(range(1, len(losses) + 1), losses, color=color, label=f"rate {rate:g}")
    right.axhline(np.log(10), color="0.6", linestyle=":")
    right.set(yscale="log", xlabel="step", ylabel="loss")
    right.set_title("16 images, learned by heart or not; dotted: guessing", fontsize=9)
    right.legend(frameon=False)
    figure.savefig(PICTURE, dpi=130)


def _read():
    """The rows that there are."""
    if not ROWS.exists():
        return []
    with open(ROWS, newline="") as file:
        return [{**row, "seed": int(row["seed"])} for row in csv.DictReader(file)]


def _write(rows):
    """All rows, after each check: the next start goes on from there."""
    with open(ROWS, "w", newline="") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _two_devices():
    """Stand-ins for two GPUs."""
    import tensorflow as tf

    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)


if __name__ == "__main__":
    main()
