"""The sections of `report.html` on the network itself: gradients by depth, first filters, where the evidence lies."""

import base64
import io

import numpy as np
from PIL import Image

from .charts import BOTTOM, LEFT, WIDTH, Scale, figure, frame, linear_ticks, log_ticks
from .format import integer, keep, name, number, percent, plural, scroll, section, table, text
from .pictures import data_uri
from .run import Record

EVIDENCE = 12  # images
SIDE = 128  # pixels of a picture with its evidence
# from none to much, in the colours of cividis, which the colour-blind see as others do (Nuñez et al. 2018)
HEAT = np.array([(0, 34, 78), (67, 78, 108), (125, 124, 120), (188, 175, 111), (254, 232, 56)], "float32")


def network(record: Record) -> str:
    """Gradients by depth, and the filters that see the image."""
    looks = record.looks
    parts = []
    if looks.gradients is not None and len(looks.gradients) > 1:
        parts.append(_gradients(looks.gradients.astype("float64"), looks.gradient_layers))
    if looks.filters is not None and looks.filters.size:
        parts.append(_filters(looks.filters, looks.filters_layer))
    note = f'<p class="notice">Not all could be looked at. {text(looks.unseen)}</p>' if looks.unseen else ""
    if not parts:
        return section("network", "Inside the network", note) if note else ""
    return section("network", "Inside the network", note, f'<div class="pair">{"".join(parts)}</div>')


def _gradients(norms: np.ndarray, layers: tuple[str, ...]) -> str:
    known = norms[np.isfinite(norms) & (norms > 0)]
    if not np.isfinite(norms).any():
        return "<div><h3>Gradients by depth</h3><p>None of them is a number: the network diverged.</p></div>"
    if not len(known):
        return "<div><h3>Gradients by depth</h3><p>They are all zero: nothing is learned any more.</p></div>"
    ticks = log_ticks(float(known.min()), float(known.max()))
    ticks = ticks if len(ticks) > 1 else [ticks[0] / 10, ticks[0]]
    height, labels = 230, [number(tick) for tick in ticks]
    left = max(LEFT, 8 + 8.8 * max(map(len, labels)))
    across = Scale(0.5, len(norms) + 0.5, left, WIDTH - 12)
    up = Scale(ticks[0], max(ticks[-1], float(known.max())), height - BOTTOM, 10, log=True)
    below = [(t, integer(t)) for t in linear_ticks(1, len(norms)) if 1 <= t <= len(norms) and t == int(t)]
    parts = [frame(list(zip(ticks, labels, strict=True)), below, "layer, from the image to the answer", across, up)]
    places = [(i, float(norm)) for i, norm in enumerate(norms, 1) if np.isfinite(norm) and norm > 0]
    steps = "L".join(f"{across(i):.1f} {up(norm):.1f}" for i, norm in places)
    parts.append(f'<path class="only" d="M{steps}"/>')
    parts += [
        f'<circle class="only" cx="{across(i):.1f}" cy="{up(norm):.1f}" r="2">'
        f"<title>layer {i}, {text(layers[i - 1])}: {number(norm)}</title></circle>"
        for i, norm in places
    ]
    first, last = float(norms[0]), float(norms[-1])
    ratio = f" The first layer's is {number(first / last)} times the last's." if last else ""
    said = (
        "<p>How strongly the loss of some training images pulls at each layer's weights, at the end of training: the "
        f"root of the mean square of the gradient.{ratio} Where it falls off towards the image, the first layers "
        "hardly learn.</p>"
    )
    described = f"Gradient by depth, {plural(len(norms), 'layer')}: first {number(first)}, last {number(last)}."
    chart = figure("Gradient of a weight <span>(logarithmic scale)</span>", described, WIDTH, height, parts)
    rows = [[integer(i), text(layers[i - 1]), number(float(norm))] for i, norm in enumerate(norms, 1)]
    listing = scroll("Gradients", table("", [">layer", "name", ">gradient"], rows), "tall")
    every = f"<details><summary>The numbers behind it</summary>{listing}</details>"
    return f"<div><h3>Gradients by depth</h3>{said}{chart}{every}</div>"


def _filters(kernels: np.ndarray, layer: str) -> str:
    """All filters in one picture, each scaled by its own largest weight."""
    high, wide, channels, count = kernels.shape
    if not np.isfinite(kernels).all():
        said = f"<p>The weights of <code>{text(layer)}</code> are no numbers any more: the network diverged.</p>"
        return f"<div><h3>First filters</h3>{said}</div>"
    across = min(count, 8)
    down = -(-count // across)
    sheet = np.zeros((down * (high + 1) - 1, across * (wide + 1) - 1, 4), "uint8")  # transparent between filters
    largest = np.abs(kernels).max(axis=(0, 1, 2))
    for k in range(count):
        tile = np.rint(127.5 + 127.5 * kernels[..., k] / max(float(largest[k]), 1e-12)).astype("uint8")
        row, column = (k // across) * (high + 1), (k % across) * (wide + 1)
        sheet[row : row + high, column : column + wide, :3] = tile  # grey ones in all three
        sheet[row : row + high, column : column + wide, 3] = 255
    idle = int((largest < 0.01 * largest.max()).sum())
    unused = f" {integer(idle)} of them {'is' if idle == 1 else 'are'} all but zero." if idle else ""
    scaled = "colours are those that excite it" if channels == 3 else "bright excites, dark inhibits"
    kind = f"{integer(count)} filters of {high} × {wide}"
    said = (
        f"<p>What the first convolution, <code>{text(layer)}</code>, looks for: {kind}, each scaled by its own largest "
        f"weight; {scaled}, grey is zero.{unused}</p>"
    )
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    picture = f'<img class="filters" src="{source}" alt="The {kind} of the first convolution">'
    return f"<div><h3>First filters</h3>{said}{picture}</div>"


def evidence(record: Record) -> str:
    """Class activation maps of mistakes and of what was uncertain: what speaks for the answer, and for the truth."""
    found, looks = record.predictions, record.looks
    if not found or not looks.maps:
        return ""
    names = record.classes()
    stored = [i for i, row in enumerate(found.rows) if int(row) in looks.maps]
    wrong = sorted((i for i in stored if found.wrong[found.rows[i]]), key=lambda i: -float(found.loss[found.rows[i]]))
    chosen = [*wrong, *(i for i in stored if i not in set(wrong))][:EVIDENCE]
    items = []
    for i in chosen:
        row = int(found.rows[i])
        answer, actual = int(found.predicted[row]), int(found.labels[row])
        maps = dict(zip(looks.map_classes[row].tolist(), looks.maps[row].astype("float32"), strict=True))
        wanted = [each for each in dict.fromkeys((answer, actual)) if each in maps]
        number_ = integer(found.numbers[row])
        source, tiny = data_uri(found.images[i])
        look = " class=tiny" if tiny else ""
        shown = [f'<img src="{source}" alt="{text(f"Image {number_}")}"{look}>']
        low, high = min(float(maps[c].min()) for c in wanted), max(float(maps[c].max()) for c in wanted)
        for each in wanted:
            heat = _overlay(found.images[i], (maps[each] - low) / max(high - low, 1e-12))
            shown.append(f'<img src="{heat}" alt="{text(f"Image {number_}: evidence for {names[each]}")}">')
        share = keep(percent(float(found.probabilities[row, answer])))
        truth = f", is {name(names[actual])} (right)" if answer != actual else ", right"
        middle = " (middle)" if answer != actual else ""
        caption = f"image {number_}: answered {name(names[answer])}{middle}, {share}{truth}"
        items.append(f'<li><figure><div class="triple">{"".join(shown)}</div><figcaption>{caption}</figcaption>')
        items[-1] += "</figure></li>"
    said = (
        "<p>Class activation maps: where in an image the evidence for a class lies, from least "
        '<i class="scale"></i> to most, on one scale for both maps of an image. Of a mistake, the middle shows what '
        "speaks for the answer, the right what speaks for the truth.</p>"
    )
    return section("evidence", "Where the evidence lies", said, f'<ul class="scenes">{"".join(items)}</ul>')


def _overlay(pixels: np.ndarray, heat: np.ndarray) -> str:
    """The picture in grey under the colours of its evidence, 0 to 1, as a JPEG."""
    high, wide = pixels.shape[:2]
    factor = SIDE / max(high, wide)
    size = (max(1, round(wide * factor)), max(1, round(high * factor)))
    shape = pixels[..., 0] if pixels.shape[-1] not in (3, 4) else pixels[..., :3]
    still = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR
    grey = np.asarray(Image.fromarray(np.ascontiguousarray(shape)).convert("L").resize(size, still), "float32")
    level = Image.fromarray(heat.astype("float32")).resize(size, Image.Resampling.BICUBIC)
    place = np.clip(np.asarray(level), 0, 1) * (len(HEAT) - 1)
    colour = np.stack([np.interp(place, range(len(HEAT)), HEAT[:, c]) for c in range(3)], axis=-1)
    mixed = np.clip(0.62 * colour + 0.38 * grey[..., None], 0, 255).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(mixed).save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
