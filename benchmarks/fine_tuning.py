"""Fine-tuning on small sets of photographs, beside training from scratch with the same budget.

    python benchmarks/fine_tuning.py --weights squeezenet1_1:imagenet [--sets …] [--policies auto scratch] [--seeds 5]
        [--missing]
    python benchmarks/fine_tuning.py --weights … --policies linear "linear --no-lean"
    python benchmarks/fine_tuning.py --draw

Reads the sets from $CONVCRAFT_DATA: hymenoptera (its own split), sign_digits (20 training images a class, the rest to
test), bccd (half of the crops, or 20 a class, the rest to test). Of the last three, the seed chooses the images.
Keeps a row for each run in benchmarks/results/fine_tuning.csv, and writes their means with 95 % intervals over the
seeds as the table of docs/fine-tuning.md.
"""

import argparse
import csv
import os
import pathlib
import tempfile
import time
from collections import Counter

import advice
import numpy as np
from marks import between

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "fine-tuning.md"
RESULTS = pathlib.Path(__file__).parent / "results" / "fine_tuning.csv"
# name: (folder, training images of a class; a fraction of all where below 1; None for the folder's own split)
SETS = {
    "hymenoptera": ("hymenoptera", None),
    "sign_digits_20": ("sign_digits", 20),
    "bccd_20": ("bccd", 20),
    "bccd_half": ("bccd", 0.5),
}
COLUMNS = ["set", "weights", "policy", "used", "seed", "train", "test", "image_size", "accuracy", "balanced_accuracy"]
KEY = ("set", "weights", "policy", "seed")  # one row each
COLUMNS += ["seconds", "load", "cores", "keras", "convcraft"]


def splits(folder: pathlib.Path, share: float, seed: int, target: pathlib.Path) -> pathlib.Path:
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
    source = home if share is None else splits(home, share, seed, target)
    began = time.monotonic()
    size = training.suggest_size(weights, str(home))
    data = training.data.load(source, size=size, validation=0, seed=seed, channels=3)
    print(f"\n{name}, {weights}, {policy}, seed {seed}", flush=True)
    kind, *flags = policy.split()
    tuned = training.fine_tune(weights, data, policy=kind, seed=seed, lean="--no-lean" not in flags)
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
    """Adds a row to the results; the one before of the same set, weights, policy and seed gives way."""
    RESULTS.parent.mkdir(exist_ok=True)
    rows = [old for old in read() if any(old[each] != str(row[each]) for each in KEY)]
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*rows, row], key=lambda each: [str(each[name]) for name in KEY]))


def read() -> list[dict[str, str]]:
    """The rows that are kept."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table() -> str:
    """The means over the seeds, a line for each set, weights and policy."""
    from scipy import stats

    lines = [
        "| set | weights | policy | accuracy, % | balanced, % | seeds | trained on | tested on | seconds |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    rows = read()
    for group in sorted({(row["set"], row["weights"], row["policy"]) for row in rows}):
        those = [row for row in rows if (row["set"], row["weights"], row["policy"]) == group]
        shares = []
        for key in ("accuracy", "balanced_accuracy"):
            values = 100 * np.array([float(row[key]) for row in those])
            n = len(values)
            half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0
            shares.append(f"{values.mean():.1f} ± {half:.1f}" if n > 1 else f"{values.mean():.1f}")
        used = Counter(row["used"] for row in those)
        chosen = ", ".join(f"{name} {count}" if len(used) > 1 else name for name, count in used.most_common())
        policy = f"`{group[2]}`" + (f" ({chosen})" if group[2] == "auto" else "")
        weights = "none" if group[2] == "scratch" else f"`{group[1]}`"
        # beside other work it says nothing
        spent = [float(row["seconds"]) for row in those if float(row["load"]) < 3]
        seconds = f"{np.mean(spent):.0f}" if spent else ""
        cells = [group[0], weights, policy, *shares, str(len(those)), those[0]["train"], those[0]["test"], seconds]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def document() -> str:
    """docs/fine-tuning.md with the table of now."""
    return between(PAGE.read_text(encoding="utf-8"), "fine-tuning", "benchmarks/fine_tuning.py", table())


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="squeezenet1_1:imagenet", help="MODEL:WEIGHTS")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--policies", nargs="+", default=["auto", "scratch"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--missing", action="store_true", help="leave out what has a row")
    parser.add_argument("--draw", action="store_true", help="write the table from the rows, and no more")
    options = parser.parse_args()
    if options.draw:
        PAGE.write_text(document(), encoding="utf-8")
        advice.write("measured.csv", advice.measured())
        return
    done = {tuple(row[key] for key in KEY) for row in read()}
    with tempfile.TemporaryDirectory() as target:
        for seed in range(options.seeds):
            for name in options.sets:
                for policy in options.policies:
                    if options.missing and (name, options.weights.rpartition("/")[2], policy, str(seed)) in done:
                        continue
                    keep(measure(name, options.weights, policy, seed, pathlib.Path(target)))
    PAGE.write_text(document(), encoding="utf-8")
    advice.write("measured.csv", advice.measured())
    print(table())


if __name__ == "__main__":
    main()
