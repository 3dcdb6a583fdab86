"""Fine-tuning on small sets of photographs, beside training from scratch with the same budget.

    python benchmarks/fine_tuning.py --weights squeezenet1_1:imagenet [--sets …] [--policies auto scratch] [--seeds 5]

Reads the sets from $CONVCRAFT_DATA: hymenoptera (its own split), sign_digits (20 training images a class, the rest to
test), bccd (half of the crops, or 20 a class, the rest to test). Of the last three, the seed chooses the images.
Appends a row for each run to benchmarks/results/fine_tuning.csv, and prints means with 95 % intervals over the seeds.
"""

import argparse
import csv
import os
import pathlib
import tempfile
import time

import numpy as np

RESULTS = pathlib.Path(__file__).parent / "results" / "fine_tuning.csv"
# name: (folder, training images of a class; a fraction of all where below 1; None for the folder's own split)
SETS = {
    "hymenoptera": ("hymenoptera", None),
    "sign_digits_20": ("sign_digits", 20),
    "bccd_20": ("bccd", 20),
    "bccd_half": ("bccd", 0.5),
}
COLUMNS = ["set", "weights", "policy", "used", "seed", "train", "test", "image_size", "accuracy", "balanced_accuracy"]
COLUMNS += ["seconds", "load", "cores", "keras", "convcraft"]


def table(folder: pathlib.Path, share: float, seed: int, target: pathlib.Path) -> pathlib.Path:
    """A .csv of files, labels and splits."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(label.iterdir())
        count = round(share * len(files)) if share < 1 else int(share)
        train = set(rng.permutation(len(files))[:count].tolist())
        rows += [(file, label.name, "train" if n in train else "test") for n, file in enumerate(files)]
    path = target / f"{folder.name}_{share:g}_{seed}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "split"), *rows])
    return path


def measure(name: str, weights: str, policy: str, seed: int, target: pathlib.Path) -> dict[str, object]:
    """One run."""
    import keras

    import convcraft
    from convcraft import training

    folder, share = SETS[name]
    home = pathlib.Path(os.environ["CONVCRAFT_DATA"], folder)
    source = home if share is None else table(home, share, seed, target)
    began = time.monotonic()
    size = training.suggest_size(weights, str(home))
    data = training.data.load(source, size=size, validation=0, seed=seed, channels=3)
    tuned = training.fine_tune(weights, data, policy=policy, seed=seed)
    seconds = time.monotonic() - began
    return {
        "set": name,
        "weights": weights.rpartition("/")[2],
        "policy": policy,
        "used": tuned.policy,
        "seed": seed,
        "train": tuned.plan.counts["train"],
        "test": tuned.plan.counts["test"],
        "image_size": tuned.plan.image_shape[0],
        "accuracy": round(tuned.metrics["accuracy"], 4),
        "balanced_accuracy": round(tuned.metrics["balanced_accuracy"], 4),
        "seconds": round(seconds, 1),
        "load": round(os.getloadavg()[1], 1),
        "cores": os.cpu_count(),
        "keras": f"{keras.__version__} {keras.backend.backend()}",
        "convcraft": convcraft.__version__,
    }


def keep(row: dict[str, object]) -> None:
    """Appends a row to the results."""
    RESULTS.parent.mkdir(exist_ok=True)
    fresh = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def summary() -> None:
    """Means and 95 % intervals over the seeds of what has been measured."""
    from scipy import stats

    with RESULTS.open() as file:
        rows = list(csv.DictReader(file))
    groups = sorted({(row["set"], row["weights"], row["policy"]) for row in rows})
    print(f"{'set':<16}{'policy':<9}{'accuracy, %':<20}{'balanced, %':<20}{'seconds':<10}{'n':<4}chosen")
    for group in groups:
        those = [row for row in rows if (row["set"], row["weights"], row["policy"]) == group]
        said = []
        for key in ("accuracy", "balanced_accuracy"):
            values = 100 * np.array([float(row[key]) for row in those])
            n = len(values)
            half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
            said.append(f"{values.mean():.2f} ± {half:.2f}")
        seconds = np.mean([float(row["seconds"]) for row in those])
        used = ", ".join(sorted({row["used"] for row in those}))
        print(f"{group[0]:<16}{group[2]:<9}{said[0]:<20}{said[1]:<20}{seconds:<10.0f}{len(those):<4}{used}")


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="squeezenet1_1:imagenet", help="MODEL:WEIGHTS")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--policies", nargs="+", default=["auto", "scratch"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as target:
        for seed in range(options.seeds):
            for name in options.sets:
                for policy in options.policies:
                    keep(measure(name, options.weights, policy, seed, pathlib.Path(target)))
    summary()


if __name__ == "__main__":
    main()
