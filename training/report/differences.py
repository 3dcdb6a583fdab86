"""What differs between two runs, section by section."""

from dataclasses import dataclass

import numpy as np

from .charts import WIDTH, Scale, figure, linear_ticks
from .format import integer, keep, name, number, percent, plain, plural, scroll, section, table, text
from .pictures import data_uri
from .run import MEASURES, SPLITS, Predictions, Record
from .statistics import mcnemar, newcombe, paired, per_class, welch

MOST = 20  # classes in the chart
PAIRS = 12
SHOWN = 12  # pictures of each kind


@dataclass(frozen=True)
class Difference:
    """A measure of two runs, and what can be said of the difference."""

    title: str
    a: float
    b: float
    bounds: tuple[float, float] | None = None  # 95 % interval of a - b
    by: str = ""  # how it was found
    only: tuple[int, int] | None = None  # images that only A, and only B, has right
    seeds: bool = False  # whether it is of several seeds each

    def points(self) -> str:
        """The difference as text, in percentage points."""
        return f"{_signed(self.a - self.b)} points"

    def interval(self) -> str:
        """Its interval, "" where nothing is known."""
        if not self.bounds:
            return ""
        return f"95 % interval {_signed(self.bounds[0])} to {_signed(self.bounds[1])}, {self.by}"

    def verdict(self) -> str:
        """What it means, in a sentence or two, as HTML."""
        said = ""
        if self.bounds:
            low, high = self.bounds
            better = "A" if low > 0 else "B" if high < 0 else ""
            said = f"<strong>{better} is better.</strong>" if better else "<strong>Chance can explain it.</strong>"
        if self.only is not None:
            one, other = self.only
            p = mcnemar(one, other)
            value = "below 0.0001" if p < 1e-4 else number(p)
            said += (
                f" {plural(one, 'image')} {_is(one)} right only in A, {integer(other)} only in B. If neither were "
                f"better, chance would divide them so unevenly with a probability of {keep(value)} (McNemar's exact "
                "test)."
            )
        return said.strip()


def _signed(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "−")


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def accuracy(a: Record, b: Record) -> Difference | None:
    """The difference of the measure that tells most, of the first split that both have; None without one."""
    split = next((each for each in a.splits if each in b.splits), None)
    if split is None:
        return None
    one, other = a.splits[split], b.splits[split]
    key = next((each for each in MEASURES if each != "loss" and each in one and each in other), None)
    if key is None:
        return None
    title = f"{SPLITS.get(split, split).capitalize()} {MEASURES[key]}"
    values = [[run[split][key] for run in record.metrics.get("runs", []) if split in run] for record in (a, b)]
    if min(map(len, values)) > 1:
        by = f"Welch's, of {len(values[0])} and {len(values[1])} seeds"
        return Difference(title, one[key], other[key], welch(*values), by, seeds=True)
    if key != "accuracy" or any(values):
        return Difference(title, one[key], other[key])
    if split == "test" and (pair := _same_images(a, b)):
        wrong_a, wrong_b = (each.wrong for each in pair)
        only = (int((~wrong_a & wrong_b).sum()), int((wrong_a & ~wrong_b).sum()))
        bounds = paired(*only, len(wrong_a))
        return Difference(title, one[key], other[key], bounds, f"on the same {integer(len(wrong_a))} images", only)
    bounds = newcombe(one[key], one["n"], other[key], other["n"])
    return Difference(title, one[key], other[key], bounds, f"on {integer(one['n'])} and {integer(other['n'])} images")


def _same_images(a: Record, b: Record) -> tuple[Predictions, Predictions] | None:
    """The predictions of both, where they are of the same images in the same order; else None."""
    one, other = a.predictions, b.predictions
    hashes = [(record.config.get("data") or {}).get("sha256") for record in (a, b)]
    if one is None or other is None or hashes[0] != hashes[1] or a.classes() != b.classes():
        return None
    same = np.array_equal(one.numbers, other.numbers) and np.array_equal(one.labels, other.labels)
    return (one, other) if same else None


def classes(a: Record, b: Record) -> str:
    """Recall of each class in both runs."""
    if not a.predictions or not b.predictions or a.classes() != b.classes():
        return ""
    names = a.classes()
    one, other = (per_class(record.predictions.confusion()) for record in (a, b) if record.predictions)
    change = np.nan_to_num(one[:, 2] - other[:, 2])
    order = sorted(range(len(names)), key=lambda i: -change[i])
    rows = [
        [name(names[i]), integer(one[i, 0]), percent(one[i, 2]), percent(other[i, 2]), keep(_signed(change[i]))]
        for i in order
        if not np.isnan([one[i, 2], other[i, 2]]).any()
    ]
    head = ["class", ">images", ">A", ">B", ">A − B"]
    listing = scroll("Each class", table("", head, rows), "tall" if len(rows) > MOST else "")
    better = int((change > 0).sum())
    said = (
        f"<p>The share of each class's images that is recognized (recall): A is ahead in {integer(better)} of "
        f"{plural(len(names), 'class', 'classes')}, B in {integer(int((change < 0).sum()))}. The difference is in "
        "percentage points.</p>"
    )
    if len(rows) > MOST:
        return section("classes", "Each class", said, listing)
    chart = _dumbbells([names[i] for i in order], one[order, 2], other[order, 2])
    return section("classes", "Each class", said, f'<div class="pair">{chart}{listing}</div>')


def _dumbbells(names: list[str], one: np.ndarray, other: np.ndarray) -> str:
    """A row for each class: a dot for A, a ring for B, and a line between them."""
    known = [i for i in range(len(names)) if not np.isnan([one[i], other[i]]).any()]
    low = min(0.9, *(float(min(one[i], other[i])) for i in known))
    ticks = [tick for tick in linear_ticks(low, 1) if tick <= 1]
    height = 21 * len(known) + 34
    across = Scale(ticks[0], 1, 118, WIDTH - 20)
    parts = []
    for tick in ticks:
        parts.append(
            f'<path class="grid" d="M{across(tick):.1f} 4V{height - 26}"/>'
            f'<text x="{across(tick):.1f}" y="{height - 8}" text-anchor="middle">{100 * tick:g} %</text>'
        )
    for row, i in enumerate(known):
        y, left, right = 16 + 21 * row, across(float(one[i])), across(float(other[i]))
        short = names[i] if len(names[i]) <= 13 else f"{names[i][:12]}…"
        parts.append(
            f'<text x="108" y="{y + 4}" text-anchor="end">{text(short)}</text>'
            f'<path class="axis" d="M{left:.1f} {y}H{right:.1f}"/>'
            f'<circle class="train open" cx="{right:.1f}" cy="{y}" r="4.5"/>'
            f'<circle class="val" cx="{left:.1f}" cy="{y}" r="4"/>'
        )
    caption = 'Recall <span><i class="mark full"></i>A <i class="mark open"></i>B</span>'
    described = "; ".join(f"{names[i]}: A {percent(float(one[i]))}, B {percent(float(other[i]))}" for i in known)
    return figure(caption, f"Recall of each class. {described}.", WIDTH, height, parts)


def pairs(a: Record, b: Record) -> str:
    """Which mistakes became more, and which fewer."""
    if not _same_images(a, b) or not a.predictions or not b.predictions:
        return ""
    names = a.classes()
    one, other = a.predictions.confusion(), b.predictions.confusion()
    change = one - other
    np.fill_diagonal(change, 0)
    places = sorted(zip(*np.nonzero(change), strict=True), key=lambda at: -abs(int(change[at])))[:PAIRS]
    if not places:
        return ""
    rows = [
        [name(names[i]), name(names[k]), integer(one[i, k]), integer(other[i, k]), f"{change[i, k]:+d}"]
        for i, k in places
    ]
    rows = [[*row[:-1], keep(row[-1].replace("-", "−"))] for row in rows]
    listing = scroll("Mistakes", table("", ["actual", "taken for", ">A", ">B", ">A − B"], rows))
    said = "<p>The kinds of mistakes whose number differs most, in images.</p>"
    return section("mistakes", "Mistakes", said, listing)


def pictures(a: Record, b: Record) -> str:
    """Images that one run has right and the other wrong, of those that either run kept."""
    pair = _same_images(a, b)
    if not pair:
        return ""
    one, other = pair
    kept = {int(row): found.images[i] for found in pair for i, row in enumerate(found.rows)}
    parts = []
    for title, right, wrong in (("Right only in A", one, other), ("Right only in B", other, one)):
        rows = [row for row in kept if wrong.wrong[row] and not right.wrong[row]]
        rows = sorted(rows, key=lambda row: -wrong.loss[row])[:SHOWN]
        if rows:
            shots = "".join(_shot(kept[row], row, one, other, a.classes()) for row in rows)
            parts.append(f'<h3>{title}</h3><ul class="shots">{shots}</ul>')
    said = "<p>Of the worst mistakes and the most uncertain images of both.</p>"
    return section("pictures", "Where they disagree", said, *parts) if parts else ""


def _shot(pixels: np.ndarray, row: int, one: Predictions, other: Predictions, names: list[str]) -> str:
    source, tiny = data_uri(pixels)
    number_, actual = integer(one.numbers[row]), names[one.labels[row]]
    rows = {"truth": f"<strong>{name(actual)}</strong>"}
    for label, found in (("A", one), ("B", other)):
        answer = found.predicted[row]
        rows[label] = f"{name(names[answer])} {percent(float(found.probabilities[row, answer]))}"
    caption = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in rows.items())
    look = " class=tiny" if tiny else ""
    image = f'<img src="{source}" alt="{text(f"Image {number_}: {actual}")}" title="image {number_}"{look}>'
    return f"<li><figure>{image}<figcaption><dl>{caption}</dl></figcaption></figure></li>"


def options(a: Record, b: Record) -> str:
    """The options and the machine, as far as they differ."""
    parts = []
    for title, one, other in (
        ("Options", a.config.get("config") or {}, b.config.get("config") or {}),
        ("Environment", _environment(a), _environment(b)),
    ):
        keys = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key) and key != "output"]
        rows = [[text(key.replace("_", " ")), text(plain(one.get(key))), text(plain(other.get(key)))] for key in keys]
        if rows:
            parts.append(f"<h3>{title}</h3>{scroll(title, table('', ['', 'A', 'B'], rows))}")
        else:
            parts.append(f"<h3>{title}</h3><p>The same in both.</p>")
    return section("options", "What was different", *parts)


def _environment(record: Record) -> dict:
    first = record if record.starts else next(iter(record.parts.values()), record)
    return (first.starts[-1].get("environment") or {}) if first.starts else {}
