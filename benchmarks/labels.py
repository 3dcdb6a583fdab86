"""How many planted wrong labels does `training.suspicious_labels` find, and how many right ones does it accuse?

    python benchmarks/labels.py                   judges what is missing, and adds rows
    python benchmarks/labels.py --draw [GALLERY]  writes the table of docs/label-noise.md, and a page of pictures

On the training images of the embedded digits, and of sign_digits where $CONVCRAFT_DATA has it, whose own labels are
taken to be right. The rows are in benchmarks/results/labels.csv. The picture is the top of that page of pictures, of
sign_digits with 5 % of wrong labels: docs/screenshot.sh GALLERY docs/pictures/labels.png, cropped, in 96 colours.
"""

import argparse
import csv
import pathlib

import numpy as np
from marks import between

from convcraft import training
from convcraft.training import common
from convcraft.training.labels import held_out

ROOT = pathlib.Path(__file__).parents[1]
ROWS = pathlib.Path(__file__).with_name("results") / "labels.csv"
PAGE = ROOT / "docs" / "label-noise.md"
HEADER = [
    "data",
    "noise",
    "judge",
    "images",
    "wrong",
    "estimated",
    "found",
    "precision",
    "recall",
    "precision_at_wrong",
]
SETS = {"digits": None, "sign_digits": 64}
BY_CLASS = {"1": 0.3, "4": 0.3, "8": 0.3}
NOISES = {
    "none": (0.0, "uniform"),
    "uniform 5 %": (0.05, "uniform"),
    "uniform 20 %": (0.2, "uniform"),
    "the next class 20 %": (0.2, "pairs"),
    "30 % of three classes": (BY_CLASS, "uniform"),
}
HELD_OUT, LEARNED = "held out", "fitted with the image"


def main():
    """Judges what is missing; writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", nargs="?", const="", metavar="GALLERY", help="only write the table, and a page")
    options = parser.parse_args()
    if options.draw:
        noisy = training.inject_label_noise(load("sign_digits"), 0.05)
        training.suspicious_labels(noisy, splits=("train",)).to_html(options.draw, 60)
    if options.draw is None:
        if not ROWS.exists():
            ROWS.write_text(",".join(HEADER) + "\n")
        for name in filter(common.at_hand, SETS):
            measure(name)
    PAGE.write_text(document(), "utf-8")


def load(name):
    """A set whose labels are right."""
    return training.data.load(name, size=SETS[name], validation=0)


def measure(name):
    """The rows of a set that are missing."""
    with open(ROWS, newline="") as file:
        done = {(row["data"], row["noise"], row["judge"]) for row in csv.DictReader(file)}
    clean, features = load(name), None
    truth = clean.sources["train"].labels
    for noise, (rate, kind) in NOISES.items():
        for judge in (HELD_OUT, LEARNED):
            if (name, noise, judge) in done or (judge == LEARNED and noise != "uniform 20 %"):
                continue
            if features is None:  # they do not know the labels
                features = held_out.features_of(held_out.MODEL, clean, {"train": clean.sources["train"]})
            noisy = training.inject_label_noise(clean, rate, kind, splits=("train",))
            labels = noisy.sources["train"].labels
            chances = (held_out.out_of_sample if judge == HELD_OUT else in_sample)(features, labels)
            found = training.suspicious_labels(noisy, probabilities={"train": chances})
            row = [name, noise, judge, len(labels), *numbers(found, labels != truth)]
            print(*row, sep=" | ", flush=True)
            with open(ROWS, "a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(row)


def in_sample(features, labels):
    """What a regression says of the very images that it was fitted to."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(features)
    return LogisticRegression(C=1.0, tol=1e-3, max_iter=300).fit(scaled, labels).predict_proba(scaled)


def numbers(found, wrong):
    """Planted, estimated share, accused; of the accused the share that is wrong, of the wrong the share accused."""
    accused = np.zeros(len(wrong), bool)
    accused[[row.index for row in found.rows]] = True
    both, planted = int((accused & wrong).sum()), int(wrong.sum())
    first = np.argsort(found.margins["train"], kind="stable")[:planted]
    shares = (both / accused.sum() if accused.any() else 0, both / planted if planted else 0)
    shares += (wrong[first].mean() if planted else 0,)
    return planted, f"{found.share:.4f}", int(accused.sum()), *(f"{share:.4f}" for share in shares)


def document():
    """The page with the table of now."""
    return between(PAGE.read_text("utf-8"), "labels", "benchmarks/labels.py", table())


def table():
    """The rows as Markdown."""
    with open(ROWS, newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "| data | noise | judged | wrong labels | estimated | accused | of them wrong | of the wrong accused | "
        "wrong among as many first |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        share = int(row["wrong"]) / int(row["images"])
        cells = [row["data"], row["noise"], row["judge"], f"{row['wrong']} ({100 * share:.1f} %)"]
        cells += [f"{100 * float(row['estimated']):.1f} %", row["found"]]
        shown = (f"{100 * float(row[name]):.0f} %" for name in ("precision", "recall", "precision_at_wrong"))
        lines.append("| " + " | ".join([*cells, *(shown if row["wrong"] != "0" else ("", "", ""))]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
