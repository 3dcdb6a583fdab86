"""What `training.grow` finds on the digits: the table and the picture of docs/sizing.md.

    python benchmarks/sizes.py [--seeds 3]    searches, keeps rows, draws (some minutes)
    python benchmarks/sizes.py --draw         writes table and picture from the rows

The digits at 16x16 pixels, 30 % of the training images to judge by; the seed chooses them, first weights and order. The
rows are in benchmarks/results/sizes.csv; `test` is the accuracy of the chosen model on the 360 test images.
"""

import argparse
import csv
import pathlib

from marks import between

ROOT = pathlib.Path(__file__).parents[1]
ROWS = pathlib.Path(__file__).with_name("results") / "sizes.csv"
PAGE = ROOT / "docs" / "sizing.md"
PICTURE = ROOT / "docs" / "pictures" / "grow.svg"
HEADER = ["seed", "size", "parameters", "multiply_adds", "validation", "images", "chance", "kept", "chosen", "test"]


def search(seed: int) -> list[list]:
    """The rows of one search."""
    from convcraft import training

    data = training.data.load("digits", size=16, validation=0.3, seed=seed)
    found = training.grow(data, seed=seed, verbose=True)
    print(found, flush=True)
    test = training.measure(found.model, data)["accuracy"]
    return [
        [
            seed,
            step.name,
            step.parameters,
            step.multiply_adds,
            round(step.accuracy, 4),
            len(step.right),
            "" if step.chance is None else f"{step.chance:.2g}",
            int(step.kept),
            int(step is found.chosen),
            round(test, 4) if step is found.chosen else "",
        ]
        for step in found.steps
    ]


def read() -> list[dict[str, str]]:
    """The rows."""
    with ROWS.open(newline="") as file:
        return list(csv.DictReader(file))


def table() -> str:
    """In Markdown: the first seed's search, and what the others chose."""
    rows = read()
    first = [row for row in rows if row["seed"] == rows[0]["seed"]]
    lines = [
        "| size | parameters | multiply-adds | validation, % | chance of that gain | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in first:
        last = "**chosen**" if row["chosen"] == "1" else "kept" if row["kept"] == "1" else ""
        chance = "" if row["chance"] == "" else shown(float(row["chance"]))
        cells = [row["size"], f"{int(row['parameters']):,}", f"{int(row['multiply_adds']):,}"]
        cells += [f"{100 * float(row['validation']):.1f}", chance, last]
        lines.append(f"| {' | '.join(cells)} |")
    chosen = [row for row in rows if row["chosen"] == "1"]
    said = "; ".join(f"seed {r['seed']}: {r['size']}, test {100 * float(r['test']):.1f} %" for r in chosen)
    return "\n".join([*lines, "", f"On {first[0]['images']} validation images. Chosen: {said}."])


def shown(chance: float) -> str:
    """A chance, as `print` shows it."""
    return f"{chance:.3f}" if chance >= 0.001 else "< 0.001"


def draw() -> None:
    """Accuracy against parameters, a colour for each seed; what was kept is filled, what was chosen has a ring."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "convcraft"  # the same file from the same rows
    figure, axes = plt.subplots(figsize=(7, 4))
    rows = read()
    for number, seed in enumerate(dict.fromkeys(row["seed"] for row in rows)):
        colour, mine = f"C{number}", [row for row in rows if row["seed"] == seed]
        points = [(int(row["parameters"]), 100 * float(row["validation"]), row) for row in mine]
        kept = [(x, y) for x, y, row in points if row["kept"] == "1"]
        axes.plot(*zip(*kept, strict=True), "-", color=colour, alpha=0.5)
        for x, y, row in points:
            axes.plot(x, y, "o", color=colour, mfc=colour if row["kept"] == "1" else "white", markersize=5)
            if row["chosen"] == "1":
                axes.plot(x, y, "o", color=colour, mfc="none", markersize=12, label=f"seed {seed}: {row['size']}")
            if not number and row["kept"] == "1":
                axes.annotate(row["size"], (x, y), (8, -12), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlabel="parameters", ylabel="right on validation images, %")
    axes.legend(frameon=False, loc="lower right", title="chosen")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})
    print(PICTURE)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="searches")
    parser.add_argument("--draw", action="store_true", help="only write table and picture")
    options = parser.parse_args()
    if not options.draw:
        rows = [row for seed in range(options.seeds) for row in search(seed)]
        with ROWS.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])
    PAGE.write_text(between(PAGE.read_text(), "sizes", "benchmarks/sizes.py", table()))
    draw()


if __name__ == "__main__":
    main()
