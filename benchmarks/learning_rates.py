"""How good are the rates that a range test suggests? Trainings with each, beside a grid of rates.

    python benchmarks/learning_rates.py [--seeds 5]    tests, trains, writes rows, table and picture (some minutes)
    python benchmarks/learning_rates.py --draw         writes the table of docs/learning-rate.md and its picture anew

The curve is that of the recipe squeezenet_digits at 16x16 pixels, as `convcraft lr-find` makes it. The trainings are of
a smaller network: plain_cnn at half of its width with batch normalization, on the digits at 16x16, 6 epochs, momentum;
the rate falls along a line to nothing. Each seed draws weights and order anew, and makes a range test of its own.
Accuracy is that of the 360 test images. Rows: benchmarks/results/learning_rates.csv, and learning_rates_curve.csv.
"""

import argparse
import csv
import functools
import pathlib
from collections import defaultdict
from collections.abc import Iterator

import keras
import numpy as np
from marks import between

from convcraft import training, zoo
from convcraft.recipes import squeezenet_digits as recipe
from convcraft.training import trial

ROOT = pathlib.Path(__file__).parents[1]
ROWS = pathlib.Path(__file__).with_name("results") / "learning_rates.csv"
CURVE = ROWS.with_name("learning_rates_curve.csv")
PAGE = ROOT / "docs" / "learning-rate.md"
PICTURE = ROOT / "docs" / "pictures" / "learning-rate.svg"
HEADER = ["rule", "seed", "low", "rate", "accuracy"]
GRID = [0.001, 0.004, 0.016, 0.064, 0.25, 1.0, 4.0]
EPOCHS = 6
TESTED = {"start": 1e-4, "stop": 10.0, "steps": 100}
RULES = {  # what a rule's rate is used as
    "steep": "the largest, falling along a line",
    "valley": "the largest, falling along a line",
    "minimum/10": "the largest, falling along a line",
    "max_lr": "the largest, falling along a line",
    "min_lr to max_lr": "a cycle's ends (`triangular`)",
}


class Rates(keras.callbacks.Callback):
    """Sets the rate of each step."""

    def __init__(self, rates):
        super().__init__()
        self.rates = iter(rates)

    def on_train_batch_begin(self, batch, logs=None):
        """Before it is taken."""
        self.model.optimizer.learning_rate = next(self.rates)


@functools.cache
def compiled():
    """The small network: one for all trainings, as compiling takes longer than training."""
    data = training.data.load("digits", size=16)
    net = network(data)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, weighted_metrics=["accuracy"], jit_compile=False)
    net.optimizer.build(net.trainable_variables)
    return net


def network(data):
    """Of new weights."""
    design = zoo.Design(width=0.5, normalization="batch")
    return zoo.create("plain_cnn", data.class_names, data.image_shape, design=design, stages=3)


def ready(seed: int):
    """The network with the seed's first weights, and its data."""
    data = training.data.load("digits", size=16, batch_size=64, seed=seed)
    keras.utils.set_random_seed(seed)
    compiled().set_weights(network(data).get_weights())
    for variable in compiled().optimizer.variables:
        variable.assign(0 * variable)
    return compiled(), data


def trained(rule: str, seed: int, rate: float, low: float = 0.0) -> dict[str, object]:
    """A row: the accuracy that training with this rate reached; with `low`, in a cycle from there to `rate`."""
    net, data = ready(seed)
    steps = EPOCHS * data.feed("train").steps
    rates = np.linspace(rate, 0, steps, endpoint=False)
    if low:  # up and down once: `triangular`
        rates = low + (rate - low) * (1 - abs(np.arange(steps) / (steps / 2) - 1))
    net.fit(data.train, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[Rates(rates)])
    accuracy = training.measure(net, data)["accuracy"]
    row = dict(zip(HEADER, (rule, seed, f"{low:.3g}", f"{rate:.3g}", round(accuracy, 4)), strict=True))
    print(*row.values(), sep="  ", flush=True)
    return row


def curve() -> None:
    """The range test of the recipe: a row for each step, and the rules that chose its rate."""
    found = training.find_lr(*trial.prepared(recipe, recipe.Config(image_size=16)), **TESTED)
    print(found, flush=True)
    rules = {**found.suggestions, "min_lr": found.min_lr, "max_lr": found.max_lr}
    nearest = {rule: int(np.argmin(abs(np.log(found.rates / rate)))) for rule, rate in rules.items()}
    rows = [
        [f"{rate:.5g}", f"{loss:.5g}", "; ".join(rule for rule, place in nearest.items() if place == number)]
        for number, (rate, loss) in enumerate(zip(found.rates, found.losses, strict=True))
    ]
    write(CURVE, ["rate", "loss", "rules"], rows)


def measured(seeds: int) -> Iterator[dict[str, object]]:
    """All rows."""
    for seed in range(seeds):
        found = training.find_lr(*ready(seed), **TESTED)
        print(found, flush=True)
        for rule, rate in (*found.suggestions.items(), ("max_lr", found.max_lr)):
            yield trained(rule, seed, rate)
        yield trained("min_lr to max_lr", seed, found.max_lr, found.min_lr)
        for rate in GRID:
            yield trained("grid", seed, rate)


def write(path: pathlib.Path, header: list[str], rows: list) -> None:
    """A .csv."""
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def read() -> dict[tuple[str, str], list[dict[str, str]]]:
    """The rows by rule, those of the grid by rate."""
    found = defaultdict(list)
    with ROWS.open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["rule"], row["rate"] if row["rule"] == "grid" else ""].append(row)
    return found


def interval(rows: list[dict[str, str]]) -> tuple[float, float]:
    """Mean in percent, and half of its 95 % interval (Student's t) over the seeds."""
    from scipy import stats

    values = 100 * np.array([float(row["accuracy"]) for row in rows])
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return float(values.mean()), float(half)


def table() -> str:
    """In Markdown: the rules, then the grid."""
    lines = ["| rule | rates it gave | used as | test accuracy, % (95 %) | seeds |", "|---|---|---|--:|--:|"]
    for (rule, rate), rows in read().items():
        mean, half = interval(rows)
        rates = sorted(float(row["rate"]) for row in rows)
        gave = rate or f"{rates[0]:.2g} to {rates[-1]:.2g}"
        name = f"`{rule}`" if rule != "grid" else "the grid"
        used = RULES.get(rule, "the largest, falling along a line")
        lines.append(f"| {name} | {gave} | {used} | {mean:.1f} ± {half:.1f} | {len(rows)} |")
    return "\n".join(lines)


def draw() -> None:
    """The range test above, what training reached below, over the same rates."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "convcraft"  # the same file from the same rows
    with CURVE.open(newline="") as file:
        steps = list(csv.DictReader(file))
    rates, losses = ([float(step[key]) for step in steps] for key in ("rate", "loss"))
    chose = {rule: place for place, step in enumerate(steps) for rule in step["rules"].split("; ") if rule}
    found = read()
    marks = {"steep": "o", "valley": "s", "minimum/10": "^", "max_lr": "D", "min_lr to max_lr": "v"}
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 6.4), sharex=True)
    above.plot(rates, losses, color="0.3")
    above.axvspan(rates[chose["min_lr"]], rates[chose["max_lr"]], color="0.93")
    grid = [(float(rate), *interval(rows)) for (rule, rate), rows in found.items() if rule == "grid"]
    below.errorbar(*zip(*grid, strict=True), fmt="-", color="0.6", capsize=3, label="grid, mean and 95 % interval")
    for number, (rule, mark) in enumerate(marks.items()):
        if rule in chose:
            place = chose[rule]
            above.plot(rates[place], losses[place], mark, color=f"C{number}", label=f"{rule} {rates[place]:.2g}")
        points = [(float(row["rate"]), 100 * float(row["accuracy"])) for row in found[rule, ""]]
        below.plot(*zip(*points, strict=True), mark, color=f"C{number}", alpha=0.75, label=rule)
    above.set(title="range test of squeezenet_digits; grey: min_lr to max_lr", ylabel="loss, smoothed")
    above.set_ylim(0, 1.6 * losses[0])
    below.set(title="what a small network reached with rates from tests of its own", ylabel="test accuracy, %")
    below.set_ylim(80, 100.5)  # what broke lies below
    below.set(xscale="log", xlabel="learning rate (the largest; of a cycle its upper end)")
    for axis in (above, below):
        axis.legend(frameon=False, loc="lower left" if axis is above else "lower center", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        axis.title.set_fontsize(10)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})
    print(PICTURE)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="range tests, and trainings with each rate")
    parser.add_argument("--draw", action="store_true", help="only write table and picture")
    options = parser.parse_args()
    if not options.draw:
        curve()
        rows = []
        for row in measured(options.seeds):
            rows.append(list(row.values()))
            write(ROWS, HEADER, rows)  # each at once: what is broken off has been measured all the same
    PAGE.write_text(between(PAGE.read_text(), "learning rates", "benchmarks/learning_rates.py", table()))
    draw()


if __name__ == "__main__":
    main()
