"""Pictures of `report.html`, and what stands below them."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from .format import integer, name, percent, text
from .run import LEAST_PROBABILITY, Predictions, Record

THUMBNAIL = 128  # pixels; larger pictures are reduced, so that the file stays small


def shots(record: Record, chosen: Sequence[int]) -> str:
    """The pictures of some of the stored images, by their number among the stored ones."""
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
        "answer": f"<strong>{name(names[answer])}</strong>",
        "truth": f"<strong>{name(names[actual])}</strong>",
        "sure": percent(float(probability)),
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
