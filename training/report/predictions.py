"""The sections of `report.html` on the evaluated images: confusion, scores, mistakes, calibration."""

import base64
import io

import numpy as np
from PIL import Image

from .charts import reliability
from .format import integer, keep, name, percent, plural, scroll, section, table, text
from .matrix import full, heat_map
from .run import LEAST_PROBABILITY, Predictions, Record, calibration, confused_pairs, per_class

FULL_MATRIX = 20  # classes up to which the matrix shows its counts
PICTURES = 24
THUMBNAIL = 128  # pixels; larger pictures are reduced, so that the file stays small


def confusion(record: Record) -> str:
    """The confusion matrix and the pairs that were confused most."""
    if not record.predictions:
        return ""
    counts, classes = record.predictions.confusion(), record.classes()
    total, wrong = int(counts.sum()), int(counts.sum() - np.trace(counts))
    kind = text(record.evaluated)
    if not wrong:
        said = f"<p>All {integer(total)} {kind} images were classified correctly.</p>"
    else:
        share = keep(percent(wrong / total))
        said = f"<p>{integer(wrong)} of {integer(total)} {kind} images were mistaken ({share}).</p>"
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


def certainty(record: Record) -> str:
    """Calibration: whether the probabilities mean what they say."""
    if not record.predictions:
        return ""
    points, error = calibration(record.predictions)
    confidence = float(record.predictions.probabilities.max(axis=1).mean())
    right = float(1 - record.predictions.wrong.mean())
    verdict = (
        f"On average the network was {keep(percent(confidence))} sure of its answers, and "
        f"{keep(percent(right))} of them were right. Dots on the dashed line are well calibrated; dots below "
        "it were too sure. A dot's area is its number of images."
    )
    said = (
        f"<p>{verdict}</p><p>Expected calibration error: {keep(percent(error))} "
        f'<span class="muted">(ten bins of equal width)</span>.</p>'
    )
    return section("calibration", "Calibration", f'<div class="pair">{reliability(points)}<div>{said}</div></div>')


def mistakes(record: Record) -> str:
    """Pictures of the worst mistakes, and of what was right by a narrow margin."""
    predictions = record.predictions
    if not predictions:
        return ""
    wrong = [i for i, row in enumerate(predictions.rows) if predictions.wrong[row]]
    right = [i for i, row in enumerate(predictions.rows) if not predictions.wrong[row]]
    total, kind = int(predictions.wrong.sum()), text(record.evaluated)
    parts = []
    if not total:
        count = integer(len(predictions.labels))
        parts.append(f"<p>There are none: all {count} {kind} images were classified correctly.</p>")
    elif wrong:
        shown = min(len(wrong), PICTURES)
        count = "Every mistake" if shown == total else f"{integer(shown)} of {plural(total, 'mistake')}"
        parts.append(f"<p>{count}, the highest loss first.</p>{_shots(record, wrong[:PICTURES])}")
    if right and len(wrong) < PICTURES:
        parts.append(f"<h3>Right, but least sure</h3>{_shots(record, right[: PICTURES - len(wrong)])}")
    return section("mistakes", "Worst mistakes", *parts) if parts else ""


def _shots(record: Record, chosen: list[int]) -> str:
    predictions, names = record.predictions, record.classes()
    assert predictions is not None
    return f'<ul class="shots">{"".join(_shot(predictions, names, i) for i in chosen)}</ul>'


def _shot(predictions: Predictions, names: list[str], i: int) -> str:
    row = predictions.rows[i]
    actual, answer = predictions.labels[row], predictions.predicted[row]
    probability, loss = predictions.probabilities[row, answer], predictions.loss[row]
    place = integer(predictions.numbers[row])
    source, tiny = data_uri(predictions.images[i])
    alt = f"Image {place}: {names[actual]}, predicted {names[answer]}"
    least = "≥ " if predictions.probabilities[row, actual] < LEAST_PROBABILITY else ""
    rows = {
        "predicted": f"<strong>{name(names[answer])}</strong>",
        "actual": f"<strong>{name(names[actual])}</strong>",
        "probability": percent(float(probability)),
        "loss": f"{least}{loss:.2f}",
    }
    caption = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in rows.items())
    look = " class=tiny" if tiny else ""
    image = f'<img src="{source}" alt="{text(alt)}" title="image {place}"{look}>'
    return f"<li><figure>{image}<figcaption><dl>{caption}</dl></figcaption></figure></li>"


def data_uri(pixels: np.ndarray) -> tuple[str, bool]:
    """The picture as a PNG in the page, and whether it is so small that its pixels stay sharp squares."""
    if pixels.shape[-1] not in (1, 3, 4):
        pixels = pixels[..., :1]
    image = Image.fromarray(np.ascontiguousarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels))
    tiny = max(image.size) <= 64
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(), tiny
