"""The section of `report.html` on how a run learned: loss, metrics and learning rate over the epochs."""

from typing import Any

import numpy as np

from ..diagnosis.findings import Diagnosis, diagnose
from ..diagnosis.symptoms import Finding
from .charts import curves
from .format import duration, integer, is_number, number, percent, plural, scroll, section, table, text
from .lines import Line, smooth
from .run import MEASURES, Record

NOT_METRICS = {"event", "epoch", "steps", "learning_rate", "seconds", "images_per_second"}
SMOOTHED = 30  # epochs from which the curves are smoothed


def learning(record: Record) -> str:
    """Loss, metrics and learning rate over the epochs."""
    epochs = record.epochs
    if not epochs:
        return section("curves", "Learning curves", "<p>No epoch has finished yet.</p>")
    resumed = [_place(start["resumed_at"], epochs) for start in record.starts if start.get("resumed_at")]
    charts, notes = [], []
    for metric in metrics_of(epochs):
        lines = [Line("train", "train", [epoch.get(metric) for epoch in epochs])]
        if any(f"val_{metric}" in epoch for epoch in epochs):
            lines.append(Line("val", "validation", [epoch.get(f"val_{metric}") for epoch in epochs]))
        notes += [note for line in lines if (note := _broken(metric, line))]
        drawn = [part for line in lines if line.points() for part in softened(line)]
        if drawn:
            title = text(MEASURES.get(metric, metric.replace("_", " ")))
            title = title[0].upper() + title[1:]
            charts.append(curves(title, drawn, share=is_share(metric), best=_best(metric, drawn), resumed=resumed))
    rates = Line("only", "last", [epoch.get("learning_rate") for epoch in epochs])
    if rates.points():
        charts.append(curves("Learning rate", [rates], resumed=resumed, height=150))
    if len(epochs) >= SMOOTHED:
        reach = 2 * reach_of(len(epochs)) + 1
        notes.append(f"Thin: as measured. Thick: the mean over {reach} epochs. The numbers are of what was measured.")
    if not any(key.startswith("val_") for epoch in epochs for key in epoch):
        notes.append("There was no validation set: nothing here tells whether the network generalizes.")
    said = "".join(f'<p class="note">{note}</p>' for note in notes)
    pair = f'<div class="pair">{"".join(charts)}{_pace(epochs)}</div>'
    return section("curves", "Learning curves", said, pair, _epoch_table(epochs))


def reach_of(epochs: int) -> int:
    """How many epochs to each side the smoothed curve looks."""
    return max(2, round(epochs / 25))


def softened(line: Line) -> list[Line]:
    """A curve of many epochs: as it was measured, thin, and smoothed over it; a short one as it is."""
    if len(line.values) < SMOOTHED:
        return [line]
    smoothed = smooth(line.values, reach_of(len(line.values)))
    return [Line(line.kind, "", line.values), Line(line.kind, line.label, smoothed, measured=line.values)]


def diagnosis(record: Record) -> str:
    """What was found before training, and what curves or a monitor say is wrong, by which number, and what to do."""
    checks = record.config.get("checks")
    lines = [text(line) for line in checks if isinstance(line, str)] if isinstance(checks, list) else []
    before = f"<p>Found before training:</p><ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>" if lines else ""
    if not record.epochs or any("loss" not in epoch for epoch in record.epochs):
        return section("diagnosis", "Diagnosis", before) if before else ""
    found, note = judged(record)
    rows = [[text(each.name), f"{text(each.number)}.", f"{text(each.advice)}."] for each in found.findings]
    head = ["Finding", "What it rests on", "What to do"]
    said = scroll("Diagnosis", table("", head, rows)) if rows else "<p>Nothing wrong was found in the curves.</p>"
    unknown = [what for what in found.unknown if "Monitor" not in what]  # what only a monitor sees is no news of a run
    rest = [note, f"Not judged: {text('; '.join(unknown))}." if unknown else ""]
    notes = "".join(f'<p class="note">{each}</p>' for each in rest if each)
    return section("diagnosis", "Diagnosis", before, said, notes)


def judged(record: Record) -> tuple[Diagnosis, str]:
    """What is known of a training, and what to say of the monitor that saw it, or a part of it."""
    keys = {key for epoch in record.epochs for key, value in epoch.items() if isinstance(value, int | float)}
    history = {key: [_float(epoch.get(key)) for epoch in record.epochs] for key in {*keys, "loss"}}
    found, seen = diagnose(history, len(record.classes()) or None), record.config.get("diagnosis")
    if not isinstance(seen, dict) or not isinstance(seen.get("findings"), list):
        return found, ""
    more = [Finding(**each) for each in seen["findings"]]
    if seen.get("epochs") == len(record.epochs):  # it has read the same curves, and knows more
        return Diagnosis(more, list(seen.get("unknown", ()))), "Judged with a monitor of every batch and layer."
    new = [finding for finding in more if finding.name not in found.names]
    note = f"A monitor saw {seen.get('epochs')} of {len(record.epochs)} epochs, for the run was resumed."
    return Diagnosis([*found.findings, *new], found.unknown), note


def metrics_of(epochs: list[dict[str, Any]]) -> list[str]:
    """Names of what was measured each epoch, the loss first, then accuracies."""
    keys = {key.removeprefix("val_") for epoch in epochs for key, value in epoch.items() if not isinstance(value, str)}
    return sorted(keys - NOT_METRICS, key=lambda key: (key != "loss", key != "accuracy", key))


def is_share(metric: str) -> bool:
    """Whether a metric is shown in percent."""
    return "accuracy" in metric or "iou" in metric


def _best(metric: str, lines: list[Line]) -> tuple[Line, str] | None:
    validation = [line for line in lines if line.kind == "val" and line.label]
    if not validation or not ("loss" in metric or "accuracy" in metric):
        return None
    return validation[0], "lowest" if "loss" in metric else "highest"


def _broken(metric: str, line: Line) -> str:
    bad = [x for x, y in enumerate(line.values, 1) if y is not None and not is_number(y)]
    if not bad:
        return ""
    what = text(f"{metric.replace('_', ' ')} ({line.label})")
    count = plural(len(bad), "epoch")
    return f"<strong>The {what} was not a finite number</strong> in {count}, first in epoch {bad[0]}."


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
    body = "".join(f'<tr><th scope="row">{title}</th><td class="n">{value}</td></tr>' for title, value in rows)
    return f'<table class="wide pace"><caption>Pace</caption><tbody>{body}</tbody></table>'


def _epoch_table(epochs: list[dict[str, Any]], most: int = 200) -> str:
    metrics = [key for metric in metrics_of(epochs) for key in (metric, f"val_{metric}")]
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
    listing = scroll("Every epoch", table("", head, rows), "tall")
    return f"<details><summary>{summary}</summary>{listing}</details>"


def _measured(key: str, value: Any) -> str:
    if not isinstance(value, (int, float)):
        return "–"
    return percent(value) if is_share(key) else number(value)


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")  # JSON has no other
