"""What each recipe's network costs and how good it gets: README's table and its picture, made from finished runs.

    python benchmarks/recipes.py add RUN …    measures speed and memory of each run's model.keras, and keeps a row
    python benchmarks/recipes.py draw         writes README's table, and docs/pictures/recipes.svg, from the rows; and
                                              the table of docs/weights.md from the cards in zoo/pretrained

The rows are in benchmarks/results/recipes.csv; one for each recipe, data set, number of epochs and width.
"""

import argparse
import csv
import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import advice
from marks import between

ROOT = pathlib.Path(__file__).parents[1]
ROWS = pathlib.Path(__file__).with_name("results") / "recipes.csv"
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "pictures" / "recipes.svg"
WEIGHTS = ROOT / "docs" / "weights.md"
SCRIPT = "benchmarks/recipes.py"
HEADER = [
    "recipe",
    "options",
    "data",
    "n",
    "accuracy",
    "low",
    "high",
    "seeds",
    "epochs",
    "minutes",
    "parameters",
    "multiply_adds",
    "images_per_second",
    "memory_mb",
    "file_mb",
    "hardware",
    "commit",
]
UNNAMED = ("--data", "--strategy", "--seeds")  # options that a row says otherwise, or that change nothing
# run in a process of its own, whose memory is that of this model; what TensorFlow takes by itself is subtracted
PROBE = """
import json, resource, sys, time
import numpy as np
from convcraft.quiet import import_keras
import_keras()
from convcraft import zoo
import keras
keras.ops.ones(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = zoo.load_model(sys.argv[1])
images = np.random.default_rng(0).uniform(0, 255, (32, *json.loads(sys.argv[2]))).astype("float32")
model.predict_on_batch(images)
times = []
for _ in range(15):
    start = time.perf_counter()
    model.predict_on_batch(images)
    times.append(time.perf_counter() - start)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([32 / float(np.median(times)), (after - before) / 1024]))
"""


def add(run: pathlib.Path) -> dict[str, Any]:
    """The row of a finished run."""
    config = json.loads((run / "config.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    one = run / f"seed-{metrics['chosen']}" if "chosen" in metrics else run
    starts = [json.loads(line) for line in (one / "history.jsonl").read_text().splitlines()]
    where = [line for line in starts if line["event"] == "start"][-1]["environment"]
    from convcraft.training.report.statistics import wilson

    test = metrics["test"]
    low, high = test.get("accuracy_interval") or wilson(test["accuracy"], test["n"])
    if "mean_iou" in test:
        raise ValueError(f"{run} answers for pixels: its accuracy has no place among those of images.")
    if config["config"]["smoke"]:
        raise ValueError(f"{run} is a smoke run, which measures nothing.")
    probe = [sys.executable, "-c", PROBE, str(run / "model.keras"), json.dumps(config["data"]["image_shape"])]
    speed, memory = json.loads(subprocess.run(probe, capture_output=True, text=True, check=True).stdout)
    return {
        "recipe": config["recipe"],
        "options": options(config["command"]),
        "data": pathlib.Path(config["data"]["name"]).stem,
        "n": test["n"],
        "accuracy": round(test["accuracy"], 5),
        "low": round(max(0.0, low), 5),
        "high": round(min(1.0, high), 5),
        "seeds": len(test.get("seeds", [0])),
        "epochs": sum(line["event"] == "epoch" for line in starts),
        "minutes": round(metrics["seconds"] / 60, 1),
        "parameters": metrics["parameters"],
        "multiply_adds": metrics["multiply_adds"],
        "images_per_second": round(speed),
        "memory_mb": round(memory),
        "file_mb": round((run / "model.keras").stat().st_size / 1e6, 2),
        "hardware": f"{', '.join(where['devices'])}, {where['cores']} cores",
        "commit": (where["commit"] or "")[:7],
    }


def options(command: str) -> str:
    """What a command says beside recipe, data and seeds: "--width 0.25 --precision mixed_bfloat16"."""
    parts = command.partition(" --")[2].split(" --")
    return " ".join(f"--{part}" for part in parts if part and f"--{part.split()[0]}" not in UNNAMED)


def read() -> list[dict[str, str]]:
    """The rows, best first within each data set."""
    if not ROWS.exists():
        return []
    with ROWS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return sorted(rows, key=lambda row: (row["data"], -float(row["accuracy"])))


def write(rows: list[dict[str, Any]]) -> None:
    """All rows, sorted by recipe, so that a new one is a small change."""
    with ROWS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (row["recipe"], row["data"], row["options"])))


def table() -> str:
    """README's table."""
    lines = [
        "| recipe | data | accuracy (95 %) | epochs | minutes | weights | multiply-adds | images/s | memory | file |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in read():
        share, low, high = (100 * float(row[key]) for key in ("accuracy", "low", "high"))
        seeds = "" if row["seeds"] == "1" else f", {row['seeds']} seeds"
        name = f"`{row['recipe']}`" + (f" `{row['options']}`" if row["options"] else "")
        cells = [
            name,
            row["data"],
            f"{share:.1f} % ({low:.1f} to {high:.1f}{seeds})",
            row["epochs"],
            row["minutes"],
            f"{int(row['parameters']) / 1e6:.2f} M",
            f"{int(row['multiply_adds']) / 1e6:.0f} M",
            row["images_per_second"],
            f"{row['memory_mb']} MB",
            f"{row['file_mb']} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def documents() -> dict[pathlib.Path, str]:
    """The documents with their tables of now, and the table that `training.advise` reads."""
    from convcraft.training import pretrained_card

    return {
        advice.TABLES / "measured.csv": advice.measured(),
        README: between(README.read_text(encoding="utf-8"), "recipes", SCRIPT, table()),
        WEIGHTS: between(
            WEIGHTS.read_text(encoding="utf-8"), "weights", SCRIPT, pretrained_card.table("../zoo/pretrained")
        ),
    }


def label(row: dict[str, str], rows: list[dict[str, str]]) -> str:
    """A row's name in the picture: its recipe, its width, and where others have both, its other options."""
    name = re.sub("_(cifar10|tinyimagenet|digits)$", "", row["recipe"])
    width = " ".join(re.findall(r"--(?:width|widen|depth) \S+", row["options"])).replace("--", "")
    alike = [other for other in rows if (other["recipe"], other["data"]) == (row["recipe"], row["data"])]
    rest = re.sub(r"--(precision|epochs|schedule|width|widen|depth) \S+", "", row["options"]).replace("--", "")
    return " ".join([name, *width.split(), *(rest.split() if len(alike) > 1 else [])])


def draw() -> None:
    """Accuracy against cost, a panel for each data set; without trainings that were cut short."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import LogLocator, NullFormatter

    matplotlib.rcParams["svg.hashsalt"] = "convcraft"  # the same file from the same rows
    rows = [row for row in read() if int(row["epochs"]) >= advice.ENOUGH]
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure, axes = plt.subplots(1, len(names), figsize=(4.2 * len(names), 3.6), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=True):
        those = [row for row in rows if row["data"] == name]
        costs = sorted(int(row["multiply_adds"]) for row in those)
        for row in those:
            late = int(row["multiply_adds"]) > (costs[0] * costs[-1] ** 3) ** 0.25 > costs[0]  # in the last quarter
            cost, share = int(row["multiply_adds"]) / 1e6, 100 * float(row["accuracy"])
            spread = [[share - 100 * float(row["low"])], [100 * float(row["high"]) - share]]
            axis.errorbar(cost, share, yerr=spread, fmt="o", color="#1f5a9e", capsize=2, markersize=4)
            axis.annotate(
                label(row, rows),
                (cost, share),
                (-5 if late else 5, -2.5),  # beside the interval, and within the panel
                ha="right" if late else "left",
                textcoords="offset points",
                fontsize=7,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],  # readable across another's interval
            )
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.margins(x=0.3, y=0.15)
        axis.set(title=name, xlabel="million multiply-adds an image", ylabel="test accuracy, %")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})
    print(PICTURE)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["add", "draw"])
    parser.add_argument("runs", nargs="*", type=pathlib.Path, help="directories of finished runs")
    chosen = parser.parse_args()
    for run in chosen.runs:
        row = add(run)
        key = ("recipe", "data", "options")
        kept = [old for old in read() if any(old[each] != str(row[each]) for each in key)]
        write([*kept, row])
        print(row)
    if chosen.action == "draw":
        for path, text in documents().items():
            path.write_text(text, encoding="utf-8")
        draw()


if __name__ == "__main__":
    main()
