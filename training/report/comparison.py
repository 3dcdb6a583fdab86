"""Two runs on one page: `convcraft report RUN OTHER`."""

import os
from pathlib import Path
from typing import Any

from ..rundir import write_atomically
from .certainty import compared
from .charts import curves
from .differences import Difference, accuracy, classes, options, pairs, pictures
from .format import duration, integer, is_number, keep, large, moment, number, percent, scroll, section, table, text
from .history import is_share, metrics_of, softened
from .lines import Line
from .run import MEASURES, SPLITS, Record, read
from .several import together
from .shell import document, title_of


def compare(directory: str | os.PathLike[str], other: str | os.PathLike[str]) -> Path:
    """Writes `against-NAME.html` into a run directory: what differs between two runs, and whether it is chance.

    Args:
        directory: of the run that is judged, A.
        other: of the one that it is compared with, B; NAME is the name of this directory.

    Returns:
        The path of the page.

    Raises:
        ValueError: for a run and itself.

    Example:
        >>> path = compare("runs/squeezenet_digits-2", "runs/squeezenet_digits")  # doctest: +SKIP
    """
    a, b = read(Path(directory)), read(Path(other))
    if a.directory.resolve() == b.directory.resolve():
        raise ValueError(f"Expected two runs to compare, received {a.directory} twice.")
    sections = {
        "Results": _results(a, b),
        "Curves": _learning(a, b),
        "Classes": classes(a, b),
        "Mistakes": pairs(a, b),
        "Pictures": pictures(a, b),
        "Calibration": compared(a, b),
        "Options": options(a, b),
    }
    footer = "Written by convcraft from the files of two runs. The page loads nothing from the network."
    page = document(f"{title_of(a)} against {title_of(b)}", _header(a, b), sections, footer)
    path = a.directory / f"against-{b.directory.resolve().name}.html"
    write_atomically(path, lambda file: file.write(page.encode()))
    return path


def _header(a: Record, b: Record) -> str:
    found = accuracy(a, b)
    tiles = ""
    if found:
        tiles = (
            f'<div class="first long"><dt>{text(found.title)}, A − B</dt><dd>{keep(found.points())}</dd>'
            f"<dd>{text(found.interval())}</dd></div>"
        )
        for label, value in (("A", found.a), ("B", found.b)):
            tiles += f"<div><dt>{text(found.title)} of {label}</dt><dd>{keep(percent(value))}</dd></div>"
        tiles = f'<dl class="tiles">{tiles}</dl>'
    said = f"<p>{found.verdict()}</p>" if found else ""
    notes = "".join(f'<p class="notice">{text(note)}</p>' for note in _notes(a, b, found))
    rows = []
    for label, record in (("A", a), ("B", b)):
        when = text(moment(record.starts[0].get("time", ""))) if record.starts else ""
        link = os.path.relpath(record.directory / "report.html", a.directory)
        run = f'<a href="{text(link)}">{text(record.directory.resolve().name)}</a><br>{when}'
        command = f"<code>{text(record.config.get('command') or '–')}</code>"
        mark = f'<i class="mark {"full" if label == "A" else "open"}"></i>{label}'
        rows.append([f'<span class="keep">{mark}</span>', run, command])
    runs = scroll("The runs", table("", ["", "run", "the command that repeats it"], rows))
    return (
        f'<p class="kicker">two convcraft runs</p><h1>{text(_named(a, b))} <span class="muted">against</span> '
        f"{text(_named(b, a))}</h1>{tiles}{said}{notes}{runs}"
    )


def _named(record: Record, other: Record) -> str:
    """The recipe; where both have the same, the directory."""
    title = title_of(record)
    return title if title != title_of(other) else record.directory.resolve().name


def _notes(a: Record, b: Record, found: Difference | None) -> list[str]:
    notes = []
    for label, record in (("A", a), ("B", b)):
        if not record.splits:
            notes.append(f"{label} has not finished: it has no final result yet.")
    (one, other) = ((record.config.get("data") or {}).get("sha256") for record in (a, b))
    if one != other:
        notes.append("The data differ (by their SHA-256): a difference may be of the images, not of the networks.")
    if found and not found.seeds:
        notes.append(
            "Two trained networks are compared, not two recipes: another seed moves the accuracy, too. --seeds 3 shows "
            "by how much."
        )
    return notes


def _results(a: Record, b: Record) -> str:
    """All that was measured of both, side by side."""
    rows = []
    for split in SPLITS:
        one, other = a.splits.get(split, {}), b.splits.get(split, {})
        for key in MEASURES:
            if is_number(one.get(key)) or is_number(other.get(key)):
                share = key != "loss"
                rows.append(_row(f"{SPLITS[split]} {MEASURES[key]}", one.get(key), other.get(key), share=share))
    model_a, model_b = (record.config.get("model") or {} for record in (a, b))
    rows.append(_row("parameters", model_a.get("parameters"), model_b.get("parameters"), show=integer))
    rows.append(_row("multiply-adds", model_a.get("multiply_adds"), model_b.get("multiply_adds"), show=large))
    rows.append(_row("wall time", a.metrics.get("seconds"), b.metrics.get("seconds"), show=duration))
    head = ["", ">A", ">B", ">A − B"]
    listing = scroll("Results", table("", head, [row for row in rows if row]))
    said = "<p>Of shares, the difference is in percentage points; × is how many times as much A has.</p>"
    return section("results", "Results", said, listing)


def _row(title: str, one: Any, other: Any, *, share: bool = False, show: Any = number) -> list[str]:
    if not is_number(one) and not is_number(other):
        return []
    show = percent if share else show
    cells = [show(value) if is_number(value) else "–" for value in (one, other)]
    change = "–"
    if is_number(one) and is_number(other):
        if share:
            change = f"{100 * (one - other):+.2f}"
        elif show is number:
            change = ("+" if one > other else "") + number(one - other)
        elif other:
            change = "the same" if one == other else f"× {number(one / other)}"
        change = change.replace("-", "−")
    return [text(title), *map(keep, cells), keep(change)]


def _learning(a: Record, b: Record) -> str:
    """The curves of both in one chart for each measure."""
    charts = []
    metrics = metrics_of([*_epochs(a), *_epochs(b)])
    for metric in metrics:
        for prefix, of in (("val_", "validation"), ("", "training")):
            lines = [*_lines(a, "val", "A", prefix + metric), *_lines(b, "train", "B", prefix + metric)]
            if len([line for line in lines if line.label]) == 2:
                title = f"{of} {MEASURES.get(metric, metric.replace('_', ' '))}"
                charts.append(curves(text(title[0].upper() + title[1:]), lines, share=is_share(metric)))
    rates = [*_lines(a, "val", "A", "learning_rate"), *_lines(b, "train", "B", "learning_rate")]
    if len([line for line in rates if line.label]) == 2:
        charts.append(curves("Learning rate", rates, height=150))
    if not charts:
        return ""
    return section("curves", "Learning curves", f'<div class="pair">{"".join(charts)}</div>')


def _epochs(record: Record) -> list[dict[str, Any]]:
    return record.epochs or [epoch for part in record.parts.values() for epoch in part.epochs]


def _lines(record: Record, kind: str, label: str, key: str) -> list[Line]:
    """A run's curve; of several seeds their mean and band."""
    histories = [part.epochs for part in record.parts.values()] or [record.epochs]
    found = [Line(kind, label, [epoch.get(key) for epoch in epochs]) for epochs in histories if epochs]
    found = [line for line in found if line.points()]
    if len(found) > 1:
        return [together(kind, label, [line.values for line in found])]
    return [part for line in found for part in softened(line)]
