"""Are diagnoses right? Trainings that were made wrong on purpose, and good ones, judged by `training.diagnose`.

    python benchmarks/diagnoses.py [--seeds 5]    trains all kinds, and writes rows and table
    python benchmarks/diagnoses.py --draw         writes the table of docs/diagnosis.md from the rows

Small networks on the embedded digits, 16x16. The rows are in benchmarks/results/diagnoses.csv. Thresholds were set with
seeds from 100 on.
"""

import argparse
import csv
import pathlib
from collections import Counter
from collections.abc import Callable

import keras
from marks import between

from convcraft import training

ROOT = pathlib.Path(__file__).parents[1]
ROWS = pathlib.Path(__file__).with_name("results") / "diagnoses.csv"
PAGE = ROOT / "docs" / "diagnosis.md"
HEADER = ["kind", "expected", "seed", "found"]
GOOD = "nothing wrong"


def dense(data, depth, width, activation="relu", scale=None):
    """Dense layers one after the other; `scale` is the deviation of their first weights."""
    init = keras.initializers.RandomNormal(stddev=scale) if scale else "he_normal" if activation == "relu" else None
    x = inputs = keras.Input(data.image_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5, -1)(x))
    for _ in range(depth):
        x = keras.layers.Dense(width, activation, kernel_initializer=init or "glorot_uniform")(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def conv(data, width=32, normal=True, bias=0.0):
    """Three convolutions, the first two with pooling; `bias` is the first of all their units."""
    x = inputs = keras.Input(data.image_shape)
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for number in range(3):
        start = keras.initializers.Constant(bias)
        x = keras.layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal", bias_initializer=start)(x)
        if normal:
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
        if number < 2:
            x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def fit(data, model, optimizer, epochs, batch_size=64, images=None):
    """Trains with a monitor."""
    (x, y), validation = data.arrays("train"), data.arrays("val")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    watch = training.Monitor((x[:images], y[:images]))
    options = {"batch_size": batch_size, "epochs": epochs, "validation_data": validation, "verbose": 0}
    model.fit(x[:images], y[:images], callbacks=[watch], **options)
    return watch


def sgd(rate, momentum=0.9):
    """Stochastic gradient descent."""
    return keras.optimizers.SGD(rate, momentum=momentum)


def adam(rate):
    """Adam."""
    return keras.optimizers.Adam(rate)


def falling(rate, epochs):
    """A rate that falls along a cosine, in batches of 64."""
    return keras.optimizers.schedules.CosineDecay(rate, epochs * 21)


KINDS: dict[str, tuple[str, Callable]] = {
    "convolutions, normalized, momentum": (GOOD, lambda d: fit(d, conv(d), sgd(0.05), 12)),
    "convolutions, Adam": (GOOD, lambda d: fit(d, conv(d, normal=False), adam(2e-3), 15)),
    "a rate that falls along a cosine": (GOOD, lambda d: fit(d, conv(d), sgd(falling(0.1, 12)), 12)),
    "two dense layers": (GOOD, lambda d: fit(d, dense(d, 2, 64), adam(1e-3), 15)),
    "a rate of 10": ("learning rate too high", lambda d: fit(d, conv(d, normal=False), sgd(10.0), 6)),
    "Adam at 0.3": ("learning rate too high", lambda d: fit(d, dense(d, 3, 64), adam(0.3), 8)),
    "a rate of 0.00005": ("learning rate too low", lambda d: fit(d, conv(d, normal=False), sgd(5e-5), 8)),
    "Adam at a millionth": ("learning rate too low", lambda d: fit(d, dense(d, 2, 64), adam(1e-6), 8)),
    "batches of 2": ("batch too small", lambda d: fit(d, conv(d), sgd(0.02), 4, batch_size=2)),
    "all images in one batch": ("batch too large", lambda d: fit(d, conv(d), sgd(0.02), 8, batch_size=1300)),
    "80 images": ("overfitting", lambda d: fit(d, dense(d, 2, 64), adam(3e-3), 40, batch_size=16, images=80)),
    "one unit": ("underfitting", lambda d: fit(d, dense(d, 1, 1, "tanh"), adam(1e-2), 30)),
    "three tanh units": ("capacity reached", lambda d: fit(d, dense(d, 1, 3, "tanh"), adam(1e-2), 120)),
    "12 layers of sigmoids": ("vanishing gradients", lambda d: fit(d, dense(d, 12, 32, "sigmoid"), sgd(0.1), 6)),
    "first weights of deviation 0.5": (
        "exploding gradients",
        lambda d: fit(d, dense(d, 12, 64, scale=0.5), sgd(0.01), 4),
    ),
    "first biases of -3": ("dead units", lambda d: fit(d, conv(d, normal=False, bias=-3.0), sgd(0.01), 6)),
    "tanh, first weights of deviation 1": (
        "saturated units",
        lambda d: fit(d, dense(d, 2, 64, "tanh", scale=1.0), sgd(1e-4), 6),
    ),
}


def main():
    """Trains, judges, keeps rows, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed; from 100 on nothing is kept")
    parser.add_argument("--only", default="", help="kinds whose name or expected finding contains this")
    parser.add_argument("--draw", action="store_true", help="only write the table")
    options = parser.parse_args()
    if not options.draw:
        rows = []
        for seed in range(options.first, options.first + options.seeds):
            data = training.data.load("digits", size=16, seed=seed)
            for kind, (expected, make) in KINDS.items():
                if options.only in f"{kind} {expected}":
                    rows.append(judged(kind, expected, make, data, seed, options.first >= 100))
        if options.first >= 100 or options.only:
            return
        with open(ROWS, "w", newline="") as file:
            writer = csv.DictWriter(file, HEADER, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    PAGE.write_text(between(PAGE.read_text(), "diagnoses", "benchmarks/diagnoses.py", table()))


def judged(kind, expected, make, data, seed, verbose):
    """A row: what `diagnose` says of a training of this kind."""
    keras.utils.set_random_seed(seed)
    watch = make(data)
    diagnosis = training.diagnose(watch)
    row = dict(zip(HEADER, (kind, expected, seed, "; ".join(diagnosis.names) or GOOD), strict=True))
    print(*row.values(), sep=" | ", flush=True)
    if verbose:
        last = watch.epochs[-1]
        print("    ", {key: round(value, 4) for key, value in last.items()}, [f"{e['loss']:.3g}" for e in watch.epochs])
        print("    ", f"largest change {max(max(each) for each in watch.changes.values()):.2e}")
        for finding in diagnosis.findings:
            print("    ", finding)
    return row


def table():
    """The confusion table in Markdown: what was done down, what was found across; the first finding counts."""
    with open(ROWS, newline="") as file:
        rows = list(csv.DictReader(file))
    counts = Counter((row["expected"], row["found"].split("; ")[0]) for row in rows)
    expected = list(dict.fromkeys(row["expected"] for row in rows))
    names = expected + [name for _, name in counts if name not in expected]
    short = {name: number for number, name in enumerate(dict.fromkeys(names), 1)}
    seeds, kinds = len({row["seed"] for row in rows}), len({row["kind"] for row in rows})
    right = sum(count for (one, other), count in counts.items() if one == other)
    lines = [
        f"{right} of {len(rows)} first findings are right, in {seeds} trainings of each of {kinds} kinds.",
        "",
        "| what was wrong | " + " | ".join(str(number) for number in short.values()) + " |",
        "|---|" + "--:|" * len(short),
    ]
    for name in expected:
        cells = [str(counts[name, other] or "") for other in short]
        cells = [f"**{cell}**" if other == name and cell else cell for cell, other in zip(cells, short, strict=True)]
        lines.append(f"| {short[name]} {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
