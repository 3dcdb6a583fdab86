"""The sections of `report.html` on images whose pixels have classes: each class, and the worst scenes."""

import colorsys

import numpy as np

from .format import integer, name, percent, scroll, section, table, text
from .pictures import data_uri
from .run import Record
from .statistics import per_class

GOLDEN = 0.618034  # apart on the circle of hues, so that neighbours in number differ most


def classes(record: Record) -> str:
    """Intersection over union, precision and recall of every class, in pixels."""
    if not record.scenes:
        return ""
    names, counts = record.classes(), record.scenes.confusion
    overlap = np.diag(counts).astype(float)
    with np.errstate(invalid="ignore"):
        ious = overlap / (counts.sum(axis=0) + counts.sum(axis=1) - overlap)
    scores, total = per_class(counts), counts.sum()
    rows = [
        [_named(names, i), percent(counts[i].sum() / total), _share(ious[i]), *map(_share, scores[i, 1:3])]
        for i in range(len(names))
    ]
    foot = ["mean of classes", "", percent(float(np.nanmean(ious))), "", ""]
    head = ["class", ">of all pixels", ">IoU", ">precision", ">recall"]
    said = (
        "<p>IoU, intersection over union: of the pixels that are of a class or were taken for it, those that are "
        "both.</p>"
    )
    return section("classes", "Each class", said, scroll("Each class", table("", head, rows, foot)))


def scenes(record: Record) -> str:
    """The worst images: what was seen, what is there, what was found."""
    found = record.scenes
    if not found or not len(found.images):
        return ""
    palette, names = colours(len(found.confusion)), record.classes()
    parts = []
    for i, number in enumerate(found.numbers):
        pictures = {"image": found.images[i], "truth": palette[found.truth[i]], "answer": palette[found.answer[i]]}
        shots = "".join(_shot(kind, pixels, number) for kind, pixels in pictures.items())
        share = percent(float(found.shares[number]))
        parts.append(
            f'<li><figure><div class="triple">{shots}</div>'
            f"<figcaption>image {integer(number)}: {share} of its pixels right</figcaption></figure></li>"
        )
    legend = " ".join(f'<span class="keep">{_named(names, i)}</span>' for i in range(len(names)))
    said = f"<p>The images with the most wrong pixels: what was seen, what is there, what was found. {legend}</p>"
    return section("scenes", "Worst scenes", said, f'<ul class="scenes">{"".join(parts)}</ul>')


def colours(count: int) -> np.ndarray:
    """uint8 (count, 3): grey for the first class, the background, then hues far from each other."""
    hues = [colorsys.hsv_to_rgb((0.08 + GOLDEN * i) % 1, 0.75, 0.9) for i in range(count - 1)]
    return np.rint(255 * np.array([(0.8, 0.8, 0.8), *hues])).astype("uint8")


def _named(names: list[str], i: int) -> str:
    red, green, blue = colours(len(names))[i]
    return f'<i class="swatch" style="background:rgb({red},{green},{blue})"></i> {name(names[i])}'


def _share(value: float) -> str:
    return "–" if np.isnan(value) else percent(value)


def _shot(kind: str, pixels: np.ndarray, number: int) -> str:
    source, tiny = data_uri(pixels)
    look = " class=tiny" if tiny else ""
    return f'<img src="{source}" alt="{text(f"Image {number}: {kind}")}" title="{kind}"{look}>'
