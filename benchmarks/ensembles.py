"""What ensembles gain: of several trainings, of the moments of one, of a fractal net's columns; fused in several ways.

    python benchmarks/ensembles.py [--seeds 3]    trains everything, and writes rows, table and picture
    python benchmarks/ensembles.py --draw         writes table and picture from the rows

The embedded digits, 8x8: each time 400 of them to learn from, 200 to validate on, 1,197 to test, cut and trained with
another seed. The rows are in benchmarks/results/ensembles.csv.
"""

import argparse
import csv
import functools
import pathlib

import keras
import numpy as np
from marks import between
from scipy import stats

from convcraft import layers, training, zoo
from convcraft.training import evaluate
from convcraft.training.ensembles import fusion

ROOT = pathlib.Path(__file__).parents[1]
ROWS = pathlib.Path(__file__).with_name("results") / "ensembles.csv"
PAGE, PICTURE = ROOT / "docs" / "ensembles.md", ROOT / "docs" / "pictures" / "ensembles.svg"
HEADER = ["method", "trainings", "networks", "seed", "accuracy", "loss"]
MEMBERS, EPOCHS, BATCH, RATE = 5, 30, 64, 0.1
ONE = "one network, cosine"
CONSTANT, WHOLE = "one network, constant rate", "fractal net, whole"


def load(seed):
    """400, 200 and 1,197 digits."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x, y = (digits.images[..., None] * (255 / 16)).astype("uint8"), digits.target
    x, x_test, y, y_test = train_test_split(x, y, train_size=600, random_state=seed, stratify=y)
    x, x_val, y, y_val = train_test_split(x, y, train_size=400, random_state=seed, stratify=y)
    arrays = {"x_train": x, "y_train": y, "x_val": x_val, "y_val": y_val, "x_test": x_test, "y_test": y_test}
    return training.data.load(arrays, batch_size=400, seed=seed)


def convolutions():
    """A small network."""
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for width in (16, 32):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = keras.layers.MaxPooling2D()(layers.BatchNormalization(momentum=0.9)(x))
        x = keras.layers.ReLU()(x)
    x = keras.layers.Dense(10)(keras.layers.Flatten()(x))
    return layers.Model(inputs, layers.ClassNames([str(n) for n in range(10)])(x), name="convolutions")


def fractal():
    """A fractal net of two blocks of three columns."""
    design = zoo.Design(dropout=0.0)
    return zoo.create("fractalnet20", classes=10, input_shape=(8, 8, 1), filters=(16, 32), design=design)


def fit(data, seed, rate, make=convolutions, callbacks=(), **options):
    """A trained network."""
    keras.utils.set_random_seed(seed)
    model = make()
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, **options)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(*data.arrays("train"), batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=list(callbacks))
    return model


def of_several(seed):
    """Rows of one seed: several trainings, and the moments of one."""
    data = load(seed)
    row = functools.partial(measured, seed, data)
    steps = -(-400 // BATCH)
    cosine = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * steps)
    nets = [fit(data, 100 * seed + number, cosine) for number in range(MEMBERS)]
    answers, _ = fusion.predictions(nets, data, "test")  # an Ensemble's answer is their weighted mean
    yield row(ONE, 1, 1, *answers)
    for count in (2, 3, MEMBERS):
        yield row(f"mean of {count}", count, count, answers[:count].mean(axis=0))
    weights = training.fit_weights(nets, data)
    yield row("fitted weights of 5", MEMBERS, (weights > 0).sum(), np.einsum("m,mnc->nc", weights, answers))
    yield row("stacking of 5", MEMBERS, MEMBERS, training.stack(nets, data))
    yield row("features of 5, one head", MEMBERS, MEMBERS, training.fuse_features(nets, data, split="val"))
    yield row("mean of the weights of 5", MEMBERS, 1, training.average_weights(nets, data))

    cycles = keras.optimizers.schedules.CosineDecayRestarts(RATE, EPOCHS // MEMBERS * steps, t_mul=1.0)
    keeper = training.Snapshots(EPOCHS, MEMBERS)
    moments = keeper.models(fit(data, 100 * seed, cycles, callbacks=[keeper]))
    answers, _ = fusion.predictions(moments, data, "test")
    yield row("snapshots: the last of 5", 1, 1, answers[-1])
    yield row("snapshots: mean of 5", 1, MEMBERS, answers.mean(axis=0))
    yield row("snapshots: mean of the last 3", 1, 3, answers[2:].mean(axis=0))
    yield row("snapshots: weights of the last 3, averaged", 1, 1, training.average_weights(moments[2:], data))

    keeper = training.Checkpoints(MEMBERS)
    averaged = fit(data, 100 * seed, RATE / 4, callbacks=[keeper], use_ema=True, ema_momentum=0.98)
    moments = keeper.models(averaged)
    training.recalibrate(averaged, data)
    answers, _ = fusion.predictions(moments, data, "test")
    yield row(CONSTANT, 1, 1, answers[-1])
    yield row("its last 5 epochs: mean", 1, MEMBERS, answers.mean(axis=0))
    yield row("its last 5 epochs: weights averaged", 1, 1, training.average_weights(moments, data))
    yield row("its weights averaged by Keras (use_ema)", 1, 1, averaged)


def of_columns(seed):
    """Rows of one seed: a fractal net."""
    data = load(seed)
    row = functools.partial(measured, seed, data)
    cosine = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-400 // BATCH))
    whole = fit(data, 100 * seed, cosine, make=fractal, callbacks=[training.PreciseNormalization(data)])
    columns = training.column_models(whole, data)
    yield row(WHOLE, 1, 1, whole)
    answers, _ = fusion.predictions(columns, data, "test")
    for number, answer in enumerate(answers):
        yield row(f"fractal net, column of {4 >> number} convolutions a block", 1, 1, answer)
    yield row("fractal net, mean of its columns", 1, len(columns), answers.mean(axis=0))


def measured(seed, data, method, trainings, networks, *answers):
    """A row: of probabilities, or of models; of several of them, the means of what each is worth."""
    accuracy, loss = np.mean([judged(answer, data) for answer in answers], axis=0)
    print(f"{seed}  {method}: {accuracy:.4f}, {loss:.4f}", flush=True)
    return dict(zip(HEADER, (method, trainings, networks, seed, accuracy, loss), strict=True))


def judged(answer, data):
    """Accuracy and crossentropy on the test images, of probabilities or of a model."""
    if isinstance(answer, keras.Model):
        metrics, _, _ = evaluate.score(answer, data)
        return metrics["accuracy"], metrics["loss"]
    labels = data.sources["test"].labels
    truth = answer[np.arange(len(labels)), labels]
    return (answer.argmax(axis=1) == labels).mean(), -np.log(np.maximum(truth, 1e-30)).mean()


def main():
    """Trains, keeps rows, writes table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="of data and trainings")
    parser.add_argument("--draw", action="store_true", help="only write table and picture")
    options = parser.parse_args()
    if not options.draw:
        with open(ROWS, "w", newline="") as file:
            writer = csv.DictWriter(file, HEADER, lineterminator="\n")
            writer.writeheader()
            for kind in (of_several, of_columns):
                for seed in range(options.seeds):
                    writer.writerows(list(kind(seed)))
                    file.flush()
    PAGE.write_text(document())
    picture()


def found():
    """Method to its accuracies, losses, and what it costs, in the order of the rows; and the number of seeds."""
    with open(ROWS, newline="") as file:
        rows = list(csv.DictReader(file))
    methods = {}
    for row in rows:
        kept = methods.setdefault(row["method"], {"trainings": row["trainings"]})
        for name in ("accuracy", "loss", "networks"):
            kept.setdefault(name, []).append(float(row[name]))
    return methods


def base(method):
    """What a method is compared with."""
    return WHOLE if method.startswith("fractal") else CONSTANT if method.startswith(("its", CONSTANT)) else ONE


def interval(values):
    """Mean and half of the 95 % interval over seeds (Student's t)."""
    values = np.array(values)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return values.mean(), half


def table():
    """In Markdown: each method, and what it gains over the network it is made of, seed by seed."""
    methods = found()
    seeds = len(methods[ONE]["accuracy"])
    lines = [
        f"Mean over {seeds} seeds, with 95 % intervals of the gain, in points: of the accuracy on 1,197 images over "
        "that of the first line of the group, seed by seed.",
        "",
        "| | trainings | networks at prediction | accuracy | gain | crossentropy |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for method, kept in methods.items():
        accuracy, loss = np.mean(kept["accuracy"]), np.mean(kept["loss"])
        other = methods[base(method)]["accuracy"]
        gain, half = interval(100 * (np.array(kept["accuracy"]) - np.array(other)))
        said = "" if base(method) == method else f"{gain:+.2f} ± {half:.2f}"
        cells = [method, kept["trainings"], f"{np.mean(kept['networks']):.3g}", f"{100 * accuracy:.2f} %", said]
        lines.append(f"| {' | '.join(cells)} | {loss:.3f} |")
    return "\n".join(lines)


def document():
    """The page with its table of now."""
    return between(PAGE.read_text(), "ensembles", "benchmarks/ensembles.py", table())


def picture():
    """The gains with their intervals."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "ensembles"
    import matplotlib.pyplot as plt

    methods = found()
    shown = [method for method in methods if base(method) != method and method != "mean of the weights of 5"]
    figure, axis = plt.subplots(figsize=(7.6, 0.3 * len(shown) + 0.9))
    axis.axvline(0, color="0.6", linewidth=0.8)
    for place, method in enumerate(reversed(shown)):
        gain, half = interval(100 * (np.array(methods[method]["accuracy"]) - methods[base(method)]["accuracy"]))
        colour = "#1f5a9e" if gain - half > 0 else "#b3402a" if gain + half < 0 else "0.45"
        axis.errorbar(gain, place, xerr=half, fmt="o", color=colour, capsize=3, markersize=5)
    axis.set_yticks(range(len(shown)), list(reversed(shown)), fontsize=9)
    axis.set_xlabel("points of accuracy over the network it is made of, 95 % intervals", fontsize=9)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
