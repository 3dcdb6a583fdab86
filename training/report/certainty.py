"""The section of `report.html` on calibration: whether the probabilities mean what they say."""

import math

import numpy as np

from ..temperature import softened
from .charts import LEFT, WIDTH, Scale, figure, linear_ticks
from .format import integer, is_number, keep, number, percent, plural, scroll, section, table
from .run import LEAST_PROBABILITY, Record
from .statistics import calibration

SIZE = 250  # of the diagram in its own units
Points = list[tuple[float, float, int]]  # (how sure, share that is right, images)


def certainty(record: Record) -> str:
    """The reliability diagram, the expected calibration error, and what a temperature makes of both."""
    found = record.predictions
    if not found:
        return ""
    points, error = calibration(found.labels, found.probabilities)
    confidence = float(found.probabilities.max(axis=1).mean())
    right = float(1 - found.wrong.mean())
    who, whose = ("the networks of all seeds were", "their") if record.parts else ("the network was", "its")
    said = (
        f"<p>On average {who} {keep(percent(confidence))} sure of {whose} answers, and {keep(percent(right))} of "
        "them were right. Dots on the dashed line are well calibrated; dots below it were too sure. A dot's area is "
        f"its number of images.</p><p>Expected calibration error: {keep(percent(error))} "
        '<span class="muted">(ten bins of equal width)</span>.</p>'
    )
    drawn = {"as it is": points}
    temperature = record.metrics.get("temperature")
    if is_number(temperature):
        soft = softened(found.probabilities, temperature)
        cooled, remaining = calibration(found.labels, soft)
        drawn["with temperature"] = cooled
        rows = [
            ["as it is", "1", percent(error), number(float(found.loss.mean()))],
            ["with temperature", number(temperature), percent(remaining), number(_loss(found.labels, soft))],
        ]
        sure = "too sure" if temperature > 1 else "not sure enough"
        said += (
            f"<p>Logits divided by {keep(number(temperature))} are calibrated best, by the loss on validation images: "
            f"the network is {sure} of itself. No answer changes by it.</p>"
        )
        said += scroll("Temperature", table("", ["probabilities", ">temperature", ">error", ">loss"], rows))
    elif "temperature" in record.metrics:
        said += '<p class="note">No temperature is best: all of the validation images were right, or none.</p>'
    return section("calibration", "Calibration", f'<div class="pair">{reliability(drawn)}<div>{said}</div></div>')


def compared(a: Record, b: Record) -> str:
    """The reliability of two runs in one diagram."""
    runs = {label: record for label, record in (("A", a), ("B", b)) if record.predictions}
    if len(runs) < 2:
        return ""
    drawn, rows = {}, []
    for label, record in runs.items():
        assert record.predictions is not None
        drawn[label], error = calibration(record.predictions.labels, record.predictions.probabilities)
        heat = record.metrics.get("temperature")
        rows.append([label, percent(error), number(heat) if is_number(heat) else "–"])
    listing = scroll("Calibration", table("", ["run", ">expected calibration error", ">temperature"], rows))
    return section("calibration", "Calibration", f'<div class="pair">{reliability(drawn)}{listing}</div>')


def _loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], LEAST_PROBABILITY)).mean())


def reliability(drawn: dict[str, Points]) -> str:
    """Accuracy against confidence, of one or two sets; the area of a dot is the number of images in it."""
    every = [point for points in drawn.values() for point in points]
    low = min(0.9, *(min(point[:2]) for point in every))
    ticks = [tick for tick in linear_ticks(low, 1) if tick <= 1]
    across = Scale(ticks[0], 1, LEFT, LEFT + SIZE)
    up = Scale(ticks[0], 1, 10 + SIZE, 10)
    most = max(n for *_, n in every)
    parts = []
    for tick in ticks:
        label = f"{100 * tick:g} %"
        parts.append(
            f'<path class="grid" d="M{LEFT} {up(tick):.1f}H{LEFT + SIZE}"/>'
            f'<text x="{LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{label}</text>'
            f'<text x="{across(tick):.1f}" y="{SIZE + 26}" text-anchor="middle">{label}</text>'
        )
    parts.append(f'<path class="ideal" d="M{LEFT} {10 + SIZE}L{LEFT + SIZE} 10"/>')
    described = []
    for look, (title, points) in zip(("only soft", "train open"), drawn.items(), strict=False):
        places = []
        for sure, share, n in points:
            radius = max(2.5, 13 * math.sqrt(n / most))
            places.append((across(sure), up(share)))
            parts.append(
                f'<circle class="{look}" cx="{across(sure):.1f}" cy="{up(share):.1f}" r="{radius:.1f}">'
                f"<title>{title}: {plural(n, 'image')}, {percent(sure)} sure, {percent(share)} right</title></circle>"
            )
        each = "; ".join(f"{percent(sure)} sure, {percent(share)} right ({integer(n)})" for sure, share, n in points)
        described.append(f"{title}: {each}" if len(drawn) > 1 else each)
    parts.append(f'<text x="{LEFT + SIZE / 2}" y="{SIZE + 43}" text-anchor="middle">probability of the answer</text>')
    caption = "Share of right answers"
    if len(drawn) > 1:
        first, second = drawn
        caption += f' <span><i class="mark full"></i>{first} <i class="mark open"></i>{second}</span>'
    return figure(caption, f"Calibration: {'. '.join(described)}.", WIDTH, SIZE + 48, parts)
