"""The sections of `report.html` that show several seeds together."""

import dataclasses
from urllib.parse import quote

import numpy as np

from ..diagnosis.symptoms import Finding
from .charts import curves
from .format import duration, integer, is_number, keep, number, percent, plural, scroll, section, table, text
from .history import is_share, judged, metrics_of
from .lines import Line
from .network import evidence, network
from .run import MEASURES, SPLITS, Predictions, Record, Scenes


def learning(record: Record) -> str:
    """Loss and metrics over the epochs: a thin curve for each seed, a thick one for their mean."""
    histories = [part.epochs for part in record.parts.values() if part.epochs]
    if not histories:
        return section("curves", "Learning curves", "<p>No epoch has finished yet.</p>")
    charts = []
    for metric in metrics_of(histories[0]):
        lines = []
        for kind, label, key in (("train", "train", metric), ("val", "validation", f"val_{metric}")):
            thin = [Line(kind, "", [epoch.get(key) for epoch in epochs]) for epochs in histories]
            thin = [line for line in thin if line.points()]
            if thin:
                lines += [*thin, together(kind, label, [line.values for line in thin])]
        if any(line.label and line.points() for line in lines):
            title = text(MEASURES.get(metric, metric.replace("_", " ")))
            title = title[0].upper() + title[1:]
            charts.append(curves(title, lines, share=is_share(metric)))
    seeds = plural(len(histories), "seed")
    said = f'<p class="note">Thin: each of {seeds}. Thick: their mean; the band behind it reaches from the lowest to '
    said += "the highest, as far as all of them trained.</p>"
    return section("curves", "Learning curves", said, f'<div class="pair">{"".join(charts)}</div>')


def together(kind: str, label: str, found: list) -> Line:
    """The mean of several curves at each epoch that all have, and the band of what lies between them."""
    longest = max(map(len, found))
    rows = [[np.nan if value is None else float(value) for value in curve] for curve in found]
    padded = np.array([row + [np.nan] * (longest - len(row)) for row in rows])
    band = (padded.min(axis=0).tolist(), padded.max(axis=0).tolist()) if len(found) > 1 else None
    return Line(kind, label, padded.mean(axis=0).tolist(), band=band)


def seeds(record: Record) -> str:
    """Each seed's numbers, and a link to its own report."""
    if not record.parts:
        return ""
    splits = [split for split in SPLITS if any(split in part.splits for part in record.parts.values())]
    keys = [
        (split, key)
        for split in splits
        for key in MEASURES
        if any(key in part.splits.get(split, {}) for part in record.parts.values())
    ]
    rows = [[_link(seed), *_numbers(part, keys)] for seed, part in record.parts.items()]
    foot = None
    if record.splits:
        means = [_both(record.splits.get(split, {}), key) for split, key in keys]
        foot = ["mean ± std", *means, ""]
    head = ["seed", *(f">{SPLITS[split]} {MEASURES[key]}" for split, key in keys), ">time"]
    said = ""
    if "chosen" in record.metrics:
        by = "had the best score on validation images" if "val" in record.splits else "is the first"
        said = f"<p>model.keras is that of seed {text(record.metrics['chosen'])}, which {by}. "
        said += "The deviation is that of a sample (n − 1).</p>"
    return section("seeds", "Each seed", said, scroll("Each seed", table("", head, rows, foot)))


def diagnosis(record: Record) -> str:
    """What is wrong with how many seeds: what one shows alone may be chance, what all show is not."""
    known = [(seed, *judged(part)) for seed, part in record.parts.items() if _judgeable(part)]
    if not known:
        return ""
    found: dict[str, list[tuple[int, Finding]]] = {}
    for seed, diagnosed, _ in known:
        for finding in diagnosed.findings:
            found.setdefault(finding.name, []).append((seed, finding))
    most_first = sorted(found.items(), key=lambda item: -len(item[1]))
    rows = [
        [
            text(name),
            f"{len(of)} of {len(known)}",
            f"seed {of[0][0]}: {text(of[0][1].number)}.",
            f"{text(of[0][1].advice)}.",
        ]
        for name, of in most_first
    ]
    head = ["Finding", ">Seeds", "What it rests on", "What to do"]
    said = scroll("Diagnosis", table("", head, rows))
    return section("diagnosis", "Diagnosis", said if rows else "<p>Nothing wrong was found in the curves.</p>")


def chosen(record: Record) -> dict[str, str]:
    """What only one network can show: that of model.keras."""
    part = record.parts.get(record.metrics.get("chosen", -1))
    if part is None:
        return {}
    note = f'<p class="note">Of seed {text(record.metrics["chosen"])}, whose network model.keras is.</p>'
    shown = {"Evidence": evidence(part), "Network": network(part)}
    return {name: html.replace("</h2>", f"</h2>{note}", 1) for name, html in shown.items()}


def pooled(record: Record) -> Record:
    """The answers of all seeds in one record, as if one network had answered each image several times.

    So shares, scores and calibration are the mean over the seeds, each weighed by its images.
    """
    finished = {seed: part for seed, part in record.parts.items() if part.predictions or part.scenes}
    parts = list(finished.values())
    answers = [part.predictions for part in parts if part.predictions]
    scenes = [part.scenes for part in parts if part.scenes]
    both, counts = None, None
    if answers and len({each.probabilities.shape[1] for each in answers}) == 1:
        labels, probabilities, numbers = (
            np.concatenate([getattr(each, name) for each in answers]) for name in ("labels", "probabilities", "numbers")
        )
        both = Predictions(labels, probabilities, numbers, np.zeros(0, int), answers[0].images[:0])
    elif scenes and len({each.confusion.shape for each in scenes}) == 1:
        none = (each[:0] for each in (scenes[0].numbers, scenes[0].images, scenes[0].truth, scenes[0].answer))
        total, shares = np.sum([each.confusion for each in scenes], axis=0), [each.shares for each in scenes]
        counts = Scenes(total, np.concatenate(shares), *none)
    config = {**next((part.config for part in parts), {}), **record.config}  # a whole that has not finished has no data
    return dataclasses.replace(record, config=config, predictions=both, scenes=counts, parts=finished)


def consensus(record: Record) -> Record:
    """The means of all seeds' probabilities, with every picture that one of them kept; without, where images differ."""
    found = [part.predictions for part in record.parts.values() if part.predictions]
    first = found[0] if found else None
    whole = pooled(record)
    same = first and all(
        each.probabilities.shape == first.probabilities.shape
        and np.array_equal(each.labels, first.labels)
        and np.array_equal(each.numbers, first.numbers)
        and each.images.shape[1:] == first.images.shape[1:]
        for each in found
    )
    if first is None or not same:
        return dataclasses.replace(whole, predictions=None)
    pictures = {int(row): image for each in found for row, image in zip(each.rows, each.images, strict=True)}
    rows = np.array(sorted(pictures), int)
    images = np.stack([pictures[row] for row in rows.tolist()]) if pictures else first.images
    means = np.mean([each.probabilities for each in found], axis=0, dtype="float64")
    return dataclasses.replace(whole, predictions=Predictions(first.labels, means, first.numbers, rows, images))


def _judgeable(part: Record) -> bool:
    return bool(part.epochs) and all("loss" in epoch for epoch in part.epochs)


def _link(seed: int) -> str:
    return f'<a href="{quote(f"seed-{seed}")}/report.html">{integer(seed)}</a>'


def _numbers(part: Record, keys: list[tuple[str, str]]) -> list[str]:
    found = [(key, part.splits.get(split, {}).get(key)) for split, key in keys]
    seconds = part.metrics.get("seconds")
    return [*(_show(key, value) for key, value in found), duration(seconds) if is_number(seconds) else "–"]


def _show(key: str, value: object) -> str:
    if not is_number(value):
        return "–"
    return number(value) if key == "loss" else percent(value)


def _both(measured: dict, key: str) -> str:
    if not is_number(measured.get(key)):
        return "–"
    std = measured.get(f"{key}_std")
    return keep(plus_minus(key, measured[key], std) if is_number(std) else _show(key, measured[key]))


def plus_minus(key: str, mean: float, std: float) -> str:
    """Mean and deviation as text: "98.2 ± 0.31 %"."""
    if key == "loss":
        return f"{number(mean)} ± {number(std)}"
    return f"{100 * mean:.2f} ± {100 * std:.2f} %"
