"""The sections of `report.html`: each returns its HTML, or nothing where the run holds nothing for it."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from .report_charts import Line, curves, heat_map, level, reliability
from .report_format import duration, integer, is_number, keep, name, number, percent, plural, text
from .report_run import LEAST_PROBABILITY, Predictions, Record, calibration, confused_pairs, per_class

FULL_MATRIX = 20  # classes up to which the matrix shows its counts
NOT_METRICS = {"event", "epoch", "steps", "learning_rate", "seconds", "images_per_second"}
PICTURES = 24
THUMBNAIL = 160  # pixels; larger pictures are reduced, so that the file stays small


def section(anchor: str, title: str, *content: str) -> str:
    """A section of the page with its heading."""
    return f'<section id="{anchor}" aria-labelledby="{anchor}-h"><h2 id="{anchor}-h">{title}</h2>{"".join(content)}</section>'


def scroll(label: str, content: str, extra: str = "") -> str:
    """A box that what is too wide scrolls inside, with the keyboard too."""
    return (
        f'<div class="scroll {extra}" role="region" tabindex="0" aria-label="{text(label)}">{content}</div>'
    )


def table(caption: str, head: list[str], rows: list[list[str]], foot: list[str] | None = None) -> str:
    """A table whose cells are HTML; the first column names the row, columns marked with > hold numbers."""
    numeric = [title.startswith(">") for title in head]

    def line(cells: list[str]) -> str:
        rest = "".join(
            f'<td class="n">{c}</td>' if right else f"<td>{c}</td>"
            for c, right in zip(cells[1:], numeric[1:], strict=True)
        )
        return f'<tr><th scope="row"{" class=n" if numeric[0] else ""}>{cells[0]}</th>{rest}</tr>'

    titles = "".join(
        f'<th scope="col"{" class=n" if right else ""}>{title.lstrip(">")}</th>'
        for title, right in zip(head, numeric, strict=True)
    )
    body = "".join(map(line, rows))
    footer = f"<tfoot>{line(foot)}</tfoot>" if foot else ""
    caption = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<table class="wide">{caption}<thead><tr>{titles}</tr></thead><tbody>{body}</tbody>{footer}</table>'
    )


def learning(record: Record) -> str:
    """Loss, metrics and learning rate over the epochs."""
    epochs = record.epochs
    if not epochs:
        return section("curves", "Learning curves", "<p>No epoch has finished yet.</p>")
    resumed = [_place(start["resumed_at"], epochs) for start in record.starts if start.get("resumed_at")]
    charts, notes = [], []
    for metric in _metrics(epochs):
        lines = [Line("train", "train", [epoch.get(metric) for epoch in epochs])]
        if any(f"val_{metric}" in epoch for epoch in epochs):
            lines.append(Line("val", "validation", [epoch.get(f"val_{metric}") for epoch in epochs]))
        notes += [note for line in lines if (note := _broken(metric, line))]
        drawn = [line for line in lines if line.points()]
        if drawn:
            title = text(metric.replace("_", " ").capitalize())
            charts.append(
                curves(title, drawn, share=_is_share(metric), best=_best(metric, drawn), resumed=resumed)
            )
    rates = Line("only", "last", [epoch.get("learning_rate") for epoch in epochs])
    if rates.points():
        charts.append(curves("Learning rate", [rates], resumed=resumed, height=150))
    if not any(key.startswith("val_") for epoch in epochs for key in epoch):
        notes.append("There was no validation set: nothing here tells whether the network generalizes.")
    said = "".join(f'<p class="note">{note}</p>' for note in notes)
    pair = f'<div class="pair">{"".join(charts)}{_pace(epochs)}</div>'
    return section("curves", "Learning curves", said, pair, _epoch_table(epochs))


def _metrics(epochs: list[dict[str, Any]]) -> list[str]:
    """Names of what was measured each epoch, the loss first, then accuracies."""
    keys = {
        key.removeprefix("val_")
        for epoch in epochs
        for key, value in epoch.items()
        if not isinstance(value, str)
    }
    return sorted(keys - NOT_METRICS, key=lambda key: (key != "loss", key != "accuracy", key))


def _is_share(metric: str) -> bool:
    return "accuracy" in metric


def _best(metric: str, lines: list[Line]) -> tuple[Line, str] | None:
    validation = [line for line in lines if line.kind == "val"]
    if not validation or not ("loss" in metric or "accuracy" in metric):
        return None
    return validation[0], "lowest" if "loss" in metric else "highest"


def _broken(metric: str, line: Line) -> str:
    bad = [x for x, y in enumerate(line.values, 1) if y is not None and not is_number(y)]
    if not bad:
        return ""
    what = text(f"{metric.replace('_', ' ')} ({line.label})")
    return f"<strong>The {what} was not a finite number</strong> in {plural(len(bad), 'epoch')}, first in epoch {bad[0]}."


def _place(resumed_at: dict[str, Any], epochs: list[dict[str, Any]]) -> float:
    """Where on the axis of finished epochs a run was taken up again."""
    steps = next((epoch["steps"] for epoch in epochs if epoch.get("steps")), 0)
    place = resumed_at.get("epoch", 0) + (resumed_at.get("step", 0) / steps if steps else 0)
    return min(place, len(epochs))


def _pace(epochs: list[dict[str, Any]]) -> str:
    rows = [("Epochs", integer(len(epochs)))]
    for key, title, show in (
        ("seconds", "Time an epoch", duration),
        ("images_per_second", "Images a second", integer),
    ):
        values = [epoch[key] for epoch in epochs if is_number(epoch.get(key))]
        if values:
            rows.append((f"{title} (median)", show(float(np.median(values)))))
    body = "".join(
        f'<tr><th scope="row">{title}</th><td class="n">{value}</td></tr>' for title, value in rows
    )
    return f'<table class="wide"><caption>Pace</caption><tbody>{body}</tbody></table>'


def _epoch_table(epochs: list[dict[str, Any]], most: int = 200) -> str:
    metrics = [key for metric in _metrics(epochs) for key in (metric, f"val_{metric}")]
    keys = [key for key in ["learning_rate", *metrics] if any(key in epoch for epoch in epochs)]
    chosen = sorted({round(i) for i in np.linspace(0, len(epochs) - 1, min(most, len(epochs)))})
    rows = [
        [str(epoch["epoch"] + 1), *(_measured(key, epoch.get(key)) for key in keys)]
        for epoch in (epochs[i] for i in chosen)
    ]
    head = [">epoch", *(">" + text(key.replace("val_", "validation ").replace("_", " ")) for key in keys)]
    summary = "The numbers behind the curves" + (
        f" ({most} of {integer(len(epochs))} epochs)" if len(rows) < len(epochs) else ""
    )
    return f"<details><summary>{summary}</summary>{scroll('Every epoch', table('', head, rows), 'tall')}</details>"


def _measured(key: str, value: Any) -> str:
    if not isinstance(value, (int, float)):
        return "–"
    return percent(value) if _is_share(key) else number(value)


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
        said = f"<p>{integer(wrong)} of {integer(total)} {kind} images were mistaken ({keep(percent(wrong / total))}).</p>"
    if len(counts) > FULL_MATRIX:
        return section(
            "confusion",
            "Confusion",
            said,
            f'<div class="pair">{heat_map(counts)}{_pairs(counts, classes, 20)}</div>',
        )
    return section("confusion", "Confusion", said, _matrix(counts, classes), _pairs(counts, classes, 10))


def _matrix(counts: np.ndarray, classes: list[str]) -> str:
    upright = " upright" if max(map(len, classes)) > 4 else ""
    heads = "".join(f'<th scope="col" class="{upright}" title="{text(c)}">{name(c)}</th>' for c in classes)
    rows = []
    for actual, line in enumerate(counts):
        cells = "".join(
            _cell(int(count), int(line.sum()), classes, actual, p) for p, count in enumerate(line)
        )
        rows.append(
            f'<tr><th scope="row" title="{text(classes[actual])}">{name(classes[actual])}</th>{cells}'
            f'<td class="total">{integer(line.sum())}</td></tr>'
        )
    grid = (
        f"<table><caption>Rows: actual class. Columns: predicted class. Shade: share of the row, right answers blue, "
        f"mistakes orange (on a root scale, so that single ones are seen).</caption>"
        f'<thead><tr><th scope="col">actual</th>{heads}<th scope="col" class="n">n</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return f'<figure class="matrix" aria-label="Confusion matrix">{scroll("Confusion matrix", grid)}</figure>'


def _cell(count: int, total: int, classes: list[str], actual: int, predicted: int) -> str:
    right = actual == predicted
    shade = level(count, total, right=right)
    if not count and not right:
        return "<td></td>"
    title = f"{classes[actual]}, taken for {classes[predicted]}: {count} of {total}"
    return f'<td class="{"right" if right else "wrong"}{shade}" title="{text(title)}">{integer(count)}</td>'


def _pairs(counts: np.ndarray, classes: list[str], most: int) -> str:
    pairs = confused_pairs(counts)
    if not pairs:
        return ""
    totals = counts.sum(axis=1)
    rows = [
        [name(classes[a]), name(classes[p]), integer(n), percent(n / totals[a])] for a, p, n in pairs[:most]
    ]
    kinds = plural(len(pairs), "kind of mistake", "kinds of mistake")
    caption = f"The most frequent of {kinds}" if len(pairs) > most else "Every kind of mistake"
    listing = table(caption, ["actual", "taken for", ">images", ">of its class"], rows)
    return f"<div><h3>Most confused pairs</h3>{scroll('Most confused pairs', listing)}</div>"


def classes(record: Record) -> str:
    """Precision, recall and F1 of every class."""
    if not record.predictions:
        return ""
    names, scores = record.classes(), per_class(record.predictions.confusion())
    order = range(len(names))
    said = ""
    if len(names) > FULL_MATRIX:
        order = np.argsort(np.nan_to_num(scores[:, 3], nan=2.0), kind="stable")
        said = "<p>The weakest classes come first.</p>"
    rows = [[name(names[i]), integer(scores[i, 0]), *map(_share, scores[i, 1:])] for i in order]
    seen = ~np.isnan(
        scores[:, 3]
    )  # as scikit-learn's macro average: absent classes do not count, undefined shares are 0
    means = np.nan_to_num(scores[seen, 1:]).mean(axis=0)
    foot = ["mean of classes", integer(scores[:, 0].sum()), *map(percent, means)]
    if np.isnan(scores[seen]).any():
        said += '<p class="note">–: undefined, since the class was never predicted, or no image shows it; 0 in the mean.</p>'
    listing = table("", ["class", ">images", ">precision", ">recall", ">F1"], rows, foot)
    return section(
        "classes", "Each class", said, scroll("Each class", listing, "tall" if len(names) > 40 else "")
    )


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
        f"On average the network was {keep(percent(confidence))} sure of its answers, and {keep(percent(right))} of "
        f"them were right. Dots on the dashed line are well calibrated; dots below it were too sure. "
        f"A dot's area is its number of images."
    )
    said = (
        f"<p>{verdict}</p><p>Expected calibration error: {keep(percent(error))} "
        f'<span class="muted">(ten bins of equal width)</span>.</p>'
    )
    return section(
        "calibration", "Calibration", f'<div class="pair">{reliability(points)}<div>{said}</div></div>'
    )


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
        parts.append(
            f"<p>There are none: all {integer(len(predictions.labels))} {kind} images were classified correctly.</p>"
        )
    elif wrong:
        shown = min(len(wrong), PICTURES)
        count = "" if shown == total else f"{integer(shown)} of {integer(total)} mistakes, the "
        parts.append(
            f"<p>{count.capitalize() or 'The '}highest loss first.</p>{_shots(record, wrong[:PICTURES])}"
        )
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
    number_ = integer(predictions.numbers[row])
    source, tiny = _data_uri(predictions.images[i])
    alt = f"Image {number_}: {names[actual]}, predicted {names[answer]}"
    least = "≥ " if predictions.probabilities[row, actual] < LEAST_PROBABILITY else ""
    rows = {
        "predicted": f"<strong>{name(names[answer])}</strong>",
        "actual": f"<strong>{name(names[actual])}</strong>",
        "probability": percent(float(probability)),
        "loss": f"{least}{loss:.2f}",
    }
    caption = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in rows.items())
    return (
        f'<li><figure><img src="{source}" alt="{text(alt)}" title="image {number_}"{" class=tiny" if tiny else ""}>'
        f"<figcaption><dl>{caption}</dl></figcaption></figure></li>"
    )


def _data_uri(pixels: np.ndarray) -> tuple[str, bool]:
    """The picture as a PNG in the page, and whether it is so small that its pixels should stay sharp squares."""
    if pixels.shape[-1] not in (1, 3, 4):
        pixels = pixels[..., :1]
    image = Image.fromarray(np.ascontiguousarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels))
    tiny = max(image.size) <= 64
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(), tiny
