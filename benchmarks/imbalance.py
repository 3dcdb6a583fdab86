"""What balancing helps where classes are of unequal size: the embedded digits, five of ten classes made small.

    python benchmarks/imbalance.py [--seeds 4] [--only KIND]    trains, and adds rows that are missing
    python benchmarks/imbalance.py --draw                       writes the table and the picture of docs/imbalance.md

Each training takes the same number of steps, on images of 16x16 that are moved by up to a pixel, by the same small
network, Adam and a rate that falls along a cosine; where the kind says "rate anew", in each stage. The 360 test images
are of classes of equal size; the seed chooses which classes are small, which of their images stay, the first weights
and the order. The rows are in benchmarks/results/imbalance.csv.
"""

import argparse
import csv
import dataclasses
import pathlib
import time

import keras
import numpy as np
from marks import between

from convcraft import training

ROOT = pathlib.Path(__file__).parents[1]
ROWS = pathlib.Path(__file__).with_name("results") / "imbalance.csv"
PAGE = ROOT / "docs" / "imbalance.md"
PICTURE = ROOT / "docs" / "pictures" / "imbalance.png"
HEADER = ["ratio", "kind", "seed", "balanced_accuracy", "small_classes", "large_classes", "seconds"]
RATIOS = (10, 40)
STEPS, BATCH, RATE = 300, 32, 2e-3
SWITCH = 2 / 3
STAGES = {
    "two_stage all, balanced": ("all", "balanced"),
    "two_stage balanced, all": ("balanced", "all"),
    "two_stage head, tail": ("head", "tail"),
}
ANEW = ", rate anew"
STAGES |= {f"{kind}{ANEW}": STAGES[kind] for kind in ("two_stage all, balanced", "two_stage head, tail")}
KINDS = ("none", "oversample", "crops", "undersample", "batches", "weights", *STAGES)


def imbalanced(ratio, seed):
    """The digits, of which five classes have but one of `ratio` training images; and these classes."""
    data = training.data.load("digits", size=16, batch_size=BATCH, validation=0, seed=seed)
    rng = np.random.default_rng(seed)
    small = np.sort(rng.permutation(10)[:5])
    source = data.sources["train"]
    rows = []
    for label in range(10):
        own = rng.permutation(np.flatnonzero(source.labels == label))
        rows.append(own[: round(len(own) / ratio)] if label in small else own)
    source = source.subset(np.sort(np.concatenate(rows)))
    counts = dict(zip(data.class_names, np.bincount(source.labels).tolist(), strict=True))
    data = dataclasses.replace(
        data,
        sources={**data.sources, "train": source},
        counts={**data.counts, "train": counts},
        augment=moved,
    )
    return data, small


def network():
    """Three convolutions with normalization."""
    x = inputs = keras.Input((16, 16, 1))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for number in range(3):
        x = keras.layers.Conv2D(32, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
        if number < 2:
            x = keras.layers.MaxPooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))


def moved(images, seeds):
    """Each image up to a pixel to each side: an augmentation by its seed."""
    return np.stack(
        [np.roll(image, (s % 3 - 1, s // 3 % 3 - 1), (0, 1)) for image, s in zip(images, seeds, strict=True)]
    )


def falling(step, ends):
    """A rate that falls along a cosine to each of the ends."""
    begin = 0
    for end in ends:
        if step < end:
            return RATE * (1 + np.cos(np.pi * (step - begin) / (end - begin))) / 2
        begin = end


class Trainer:
    """One network for all trainings, which is begun anew each time: it is compiled once."""

    def __init__(self):
        self.model = network()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(keras.optimizers.Adam(RATE), loss, jit_compile=False)
        self.model.optimizer.build(self.model.trainable_variables)
        self.slots = [(variable, np.zeros(variable.shape)) for variable in self.model.optimizer.variables]

    def row(self, ratio, kind, seed):
        """Trains; returns a row."""
        began = time.perf_counter()
        data, small = imbalanced(ratio, seed)
        weights = training.class_weights(data) if kind == "weights" else {}
        ends = [STEPS]
        if kind in STAGES:
            length = data.feed("train").steps
            switch = round(SWITCH * STEPS / length)
            data = training.two_stage(data, switch, *STAGES[kind])
            ends = [switch * length, STEPS] if kind.endswith(ANEW) else ends
        elif kind not in ("none", "weights"):
            data = training.balance(data, kind)
        keras.utils.set_random_seed(seed)
        self.model.set_weights(network().get_weights())
        for variable, value in self.slots:
            variable.assign(value)
        feed, step = data.feed("train"), 0
        while step < STEPS:
            for x, y in feed.numpy(step // feed.steps):
                w = np.array([weights.get(int(label), 1.0) for label in y], "float32")
                self.model.optimizer.learning_rate = falling(step, ends)
                self.model.train_on_batch(x, y, w)
                step += 1
                if step == STEPS:
                    break
        x, y = data.arrays("test")
        predicted = self.model.predict_on_batch(x).argmax(axis=1)
        recall = np.array([(predicted[y == label] == label).mean() for label in range(10)])
        large = np.setdiff1d(np.arange(10), small)
        found = (f"{100 * number:.2f}" for number in (recall.mean(), recall[small].mean(), recall[large].mean()))
        return [ratio, kind, seed, *found, f"{time.perf_counter() - began:.0f}"]


def main():
    """Trains what is missing; writes table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="trainings of each kind")
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--draw", action="store_true", help="only write table and picture")
    options = parser.parse_args()
    if not options.draw:
        if not ROWS.exists():
            ROWS.write_text(",".join(HEADER) + "\n")
        done = {(row["ratio"], row["kind"], row["seed"]) for row in read()}
        trainer = Trainer()
        for seed in range(options.seeds):
            for ratio in RATIOS:
                for kind in KINDS:
                    if options.only in kind and (str(ratio), kind, str(seed)) not in done:
                        row = trainer.row(ratio, kind, seed)
                        print(*row, sep=" | ", flush=True)
                        with open(ROWS, "a", newline="") as file:
                            csv.writer(file, lineterminator="\n").writerow(row)
    PAGE.write_text(document())
    draw()


def read():
    """The rows."""
    with open(ROWS, newline="") as file:
        return list(csv.DictReader(file))


def interval(values):
    """Mean and half the width of its 95 % interval, by Student's t."""
    from scipy.stats import t

    values = np.asarray(values)
    if len(values) < 2:
        return float(values.mean()), 0.0
    return float(values.mean()), float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def numbers(name, ratio, kind):
    """A measure of each seed, in percent, by seed."""
    return {row["seed"]: float(row[name]) for row in read() if row["ratio"] == str(ratio) and row["kind"] == kind}


def gain(ratio, kind):
    """Mean gain in balanced accuracy over none, of the same seeds, and its interval."""
    own, none = numbers("balanced_accuracy", ratio, kind), numbers("balanced_accuracy", ratio, "none")
    return interval([own[seed] - none[seed] for seed in own.keys() & none.keys()])


def document():
    """The page with the table of now."""
    return between(PAGE.read_text("utf-8"), "imbalance", "benchmarks/imbalance.py", table())


def table():
    """Markdown: each kind's balanced accuracy, gain and the recall of small and large classes."""
    lines = []
    for ratio in RATIOS:
        seeds = len(numbers("balanced_accuracy", ratio, "none"))
        lines += ["", f"**{ratio} : 1**, five classes of about {round(143 / ratio)} images, n = {seeds}", ""]
        lines += ["| kind | balanced accuracy % | gain | small classes % | large classes % |", "|---|--:|--:|--:|--:|"]
        for kind in KINDS:
            cells = [
                "{:.1f} ± {:.1f}".format(*interval(list(numbers(name, ratio, kind).values())))
                for name in ("balanced_accuracy", "small_classes", "large_classes")
            ]
            more, width = gain(ratio, kind)
            said = "" if kind == "none" else f"{more:+.1f} ± {width:.1f}"
            said = f"**{said}**" if abs(more) > width else said
            lines.append(f"| {kind} | {cells[0]} | {said} | {cells[1]} | {cells[2]} |")
    return "\n".join(lines[1:])


def draw():
    """A dot and an interval for each kind's gain."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110})
    figure, axis = plt.subplots(figsize=(7.2, 3.4))
    shown = [kind for kind in KINDS if kind != "none"][::-1]
    for ratio, colour, lift in zip(RATIOS, ("#1f5a9e", "#b3402a"), (0.12, -0.12), strict=True):
        found = [gain(ratio, kind) for kind in shown]
        places = np.arange(len(shown)) + lift
        base = interval(list(numbers("balanced_accuracy", ratio, "none").values()))[0]
        label = f"{ratio} : 1, {base:.1f} % without"
        axis.errorbar(*zip(*[(m, p) for (m, _), p in zip(found, places, strict=True)], strict=True),
                      xerr=[width for _, width in found], fmt="o", color=colour, capsize=3, label=label)  # fmt: skip
    axis.axvline(0, color="#888", linewidth=0.8)
    axis.set_yticks(range(len(shown)), shown)
    axis.set_xlabel("gain in balanced accuracy, percentage points; 95 % interval over seeds")
    axis.legend(frameon=False, loc="best")
    figure.tight_layout()
    figure.savefig(PICTURE)
    from PIL import Image

    Image.open(PICTURE).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
