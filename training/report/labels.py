"""The page of the labels that are probably wrong: pictures to look at, and which classes they were taken for."""

from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from .format import integer, keep, name, percent, plural, scroll, section, table, text
from .page import tile
from .pictures import data_uri
from .shell import document

if TYPE_CHECKING:
    from ..labels.suspects import Suspect, SuspiciousLabels

PAIRS = 15
FEW_AGREE = 0.5


def page(found: "SuspiciousLabels", pictures: list[np.ndarray]) -> str:
    """The page as HTML.

    Args:
        found: of `training.suspicious_labels`.
        pictures: uint8 (h, w, c), of the first rows.
    """
    title = f"Suspicious labels of {PurePath(found.name).name or found.name}"
    sections = {"Pictures": _pictures(found, pictures), "Pairs": _pairs(found)}
    header = f'<p class="kicker">convcraft</p><h1>{text(title)}</h1>{_tiles(found)}{_said(found)}'
    return document(title, header, sections, "Written by convcraft. The page loads nothing from the network.")


def _tiles(found: "SuspiciousLabels") -> str:
    tiles = [
        tile("Suspicious labels", integer(len(found.rows)), f"of {plural(found.images, 'image')}", first=True),
        tile("Wrong, estimated", percent(found.share)),
        tile("Agreement", percent(found.agreement), "labels that the classifier would have given"),
    ]
    if found.without:
        tiles.append(tile("Without a label", integer(found.without), "not judged"))
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _said(found: "SuspiciousLabels") -> str:
    said = (
        "<p>Each image was judged by a classifier that was fitted without it. It may be mistaken: look before you "
        "change a label.</p>"
    )
    if found.agreement < FEW_AGREE:
        said += (
            '<p class="notice">The classifier agrees with fewer than half of all labels: it knows too little of these '
            "images to accuse anybody. Judge by features of a better network.</p>"
        )
    return said


def _pairs(found: "SuspiciousLabels") -> str:
    """Which class was most often suspected to be which."""
    pairs = Counter((row.given, row.suggested) for row in found.rows).most_common()
    if not pairs:
        return ""
    rows = [[name(given), name(suggested), integer(count)] for (given, suggested), count in pairs[:PAIRS]]
    caption = f"The most frequent of {plural(len(pairs), 'pair')}" if len(pairs) > PAIRS else ""
    listing = table(caption, ["label", "suggested", ">images"], rows)
    return section("pairs", "Labels and what they may be", scroll("Pairs", listing))


def _pictures(found: "SuspiciousLabels", pictures: list[np.ndarray]) -> str:
    """A gallery, the most suspicious first."""
    if not pictures:
        return section("pictures", "Pictures", "<p>No label is suspicious.</p>")
    shots = "".join(_shot(row, pixels) for row, pixels in zip(found.rows, pictures, strict=False))
    more = len(found.rows) - len(pictures)
    count = f"{integer(len(pictures))} of {integer(len(found.rows))}" if more else f"All {integer(len(pictures))}"
    said = f"<p>{count}, the most suspicious first.</p>"
    return section("pictures", "Pictures", said, f'<ul class="shots">{shots}</ul>')


def _shot(row: "Suspect", pixels: np.ndarray) -> str:
    source, tiny = data_uri(pixels)
    place = f"{row.split} {row.index}"
    where = PurePath(row.file).name if row.file else place
    alt = f"Image {row.rank}, {where}: labelled {row.given}, perhaps {row.suggested}"
    rows: dict[str, Any] = {
        "label": f"<strong>{name(row.given)}</strong> {keep(percent(row.given_confidence))}",
        "perhaps": f"<strong>{name(row.suggested)}</strong> {keep(percent(row.confidence))}",
        "image": name(where),
    }
    caption = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in rows.items())
    look = " class=tiny" if tiny else ""
    image = f'<img src="{source}" alt="{text(alt)}" title="{text(row.file or place)}"{look}>'
    return f"<li><figure>{image}<figcaption><dl>{caption}</dl></figcaption></figure></li>"
