"""The sections of `report.html` on the evaluated images: confusion, scores, mistakes, what was uncertain."""

import numpy as np

from .format import integer, keep, name, percent, plural, scroll, section, table, text
from .matrix import full, heat_map
from .pictures import shots
from .run import Record
from .statistics import confused_pairs, entropy, per_class

FULL_MATRIX = 20  # classes up to which the matrix shows its counts
PICTURES = 24
UNCERTAIN = 12


def confusion(record: Record) -> str:
    """The confusion matrix and the pairs that were confused most."""
    if not record.predictions:
        return ""
    counts, classes = record.predictions.confusion(), record.classes()
    total, wrong = int(counts.sum()), int(counts.sum() - np.trace(counts))
    what = f"{text(record.evaluated)} images"
    if record.parts:
        what = f"answers of {plural(len(record.parts), 'seed')} to {text(record.evaluated)} images"
    if not wrong:
        said = f"<p>All {integer(total)} {what} {'are right' if record.parts else 'were classified correctly'}.</p>"
    else:
        share = keep(percent(wrong / total))
        said = f"<p>{integer(wrong)} of {integer(total)} {what} were mistaken ({share}).</p>"
    if record.parts:
        said += '<p class="note">Here and below, each image counts once for each seed.</p>'
    if len(counts) > FULL_MATRIX:
        shown = f'<div class="pair">{heat_map(counts)}{_pairs(counts, classes, 20)}</div>'
    else:
        shown = f'<div class="beside">{full(counts, classes)}{_pairs(counts, classes, 10)}</div>'
    return section("confusion", "Confusion", said, shown)


def _pairs(counts: np.ndarray, classes: list[str], most: int) -> str:
    pairs = confused_pairs(counts)
    if not pairs:
        return ""
    totals = counts.sum(axis=1)
    rows = [[name(classes[a]), name(classes[p]), integer(n), percent(n / totals[a])] for a, p, n in pairs[:most]]
    kinds = plural(len(pairs), "kind of mistake", "kinds of mistake")
    caption = f"The most frequent of {kinds}" if len(pairs) > most else "Every kind of mistake"
    listing = table(caption, ["actual", "taken for", ">images", ">of its class"], rows)
    return f"<div><h3>Most confused pairs</h3>{scroll('Most confused pairs', listing)}</div>"


def classes(record: Record) -> str:
    """Precision, recall and F1 of every class."""
    if not record.predictions:
        return ""
    names, scores = record.classes(), per_class(record.predictions.confusion())
    order, said = list(range(len(names))), ""
    if len(names) > FULL_MATRIX:
        order = sorted(order, key=lambda i: np.nan_to_num(scores[i, 3], nan=2.0))
        said = "<p>The weakest classes come first.</p>"
    rows = [[name(names[i]), integer(scores[i, 0]), *map(_share, scores[i, 1:])] for i in order]
    # as scikit-learn's macro average: classes that are nowhere do not count, undefined shares are 0
    seen = ~np.isnan(scores[:, 3])
    means = np.nan_to_num(scores[seen, 1:]).mean(axis=0)
    foot = ["mean of classes", integer(scores[:, 0].sum()), *map(percent, means)]
    if np.isnan(scores[seen]).any():
        why = "–: undefined, since the class was never predicted, or no image shows it; 0 in the mean."
        said += f'<p class="note">{why}</p>'
    listing = table("", ["class", ">images", ">precision", ">recall", ">F1"], rows, foot)
    return section("classes", "Each class", said, scroll("Each class", listing, "tall" if len(names) > 40 else ""))


def _share(value: float) -> str:
    return "–" if np.isnan(value) else percent(value)


def mistakes(record: Record) -> str:
    """Pictures of the worst mistakes."""
    predictions = record.predictions
    if not predictions:
        return ""
    wrong = [i for i, row in enumerate(predictions.rows) if predictions.wrong[row]]
    wrong = sorted(wrong, key=lambda i: -predictions.loss[predictions.rows[i]])[:PICTURES]
    total, kind = int(predictions.wrong.sum()), text(record.evaluated)
    if not total:
        count = integer(len(predictions.labels))
        said = f"<p>There are none: all {count} {kind} images were classified correctly.{_means(record)}</p>"
        return section("mistakes", "Worst mistakes", said)
    if not wrong:
        return ""
    count = "Every mistake" if len(wrong) == total else f"{integer(len(wrong))} of {plural(total, 'mistake')}"
    said = f"<p>{count}, the highest loss first.{_means(record)}</p>"
    return section("mistakes", "Worst mistakes", said, shots(record, wrong))


def _means(record: Record) -> str:
    return f" Probabilities are the mean of {plural(len(record.parts), 'seed')}." if record.parts else ""


def uncertain(record: Record) -> str:
    """Pictures of those images whose probabilities are spread most."""
    predictions = record.predictions
    if not predictions:
        return ""
    spread = entropy(predictions.probabilities)
    stored = {int(row): i for i, row in enumerate(predictions.rows)}
    chosen = [stored[int(row)] for row in np.argsort(-spread, kind="stable")[:UNCERTAIN] if int(row) in stored]
    if not chosen:
        return ""
    right = sum(not predictions.wrong[predictions.rows[i]] for i in chosen)
    said = (
        f"<p>The images that the network is least sure of, by the entropy of its probabilities; {integer(right)} of "
        f"these {integer(len(chosen))} are right all the same.{_means(record)}</p>"
    )
    return section("uncertain", "Most uncertain", said, shots(record, chosen))
