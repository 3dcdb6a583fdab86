"""`report.html`: all that a run found, in one file that opens anywhere.

The page needs no network, no script and no server: charts are inline SVG, pictures are data URIs. It follows
the reader's light or dark theme, fits a phone and prints. `convcraft report RUN` writes it again from the
run's files, so nothing here imports Keras or TensorFlow. A run that has not finished is reported as far as it
came.
"""

import os
from pathlib import Path
from typing import Any

from ..rundir import write_atomically
from . import masks, several
from .certainty import certainty
from .format import duration, integer, is_number, keep, large, moment, number, percent, plural, scroll, table, text
from .history import diagnosis, learning
from .network import evidence, network
from .predictions import classes, confusion, mistakes, uncertain
from .run import MEASURES, SPLITS, Record, read
from .shell import document, title_of
from .statistics import wilson
from .tables import configuration, data, environment


def write(directory: str | os.PathLike[str]) -> Path:
    """Writes `report.html` into a run directory and returns its path.

    Args:
        directory: of a run; it holds `config.json`, and `history.jsonl`, `metrics.json` and `predictions.npz`
            as far as the run came.

    Example:
        >>> path = write("runs/squeezenet_digits")  # doctest: +SKIP
    """
    record = read(Path(directory))
    path = record.directory / "report.html"
    content = _page(record).encode()
    write_atomically(path, lambda file: file.write(content))
    return path


def _page(record: Record) -> str:
    if record.parts:
        first = next(iter(record.parts.values()))
        whole, means = several.pooled(record), several.consensus(record)
        inside = several.chosen(record)
        sections = {
            "Seeds": several.seeds(record),
            "Curves": several.learning(record),
            "Diagnosis": several.diagnosis(record),
            "Confusion": confusion(whole),
            "Classes": masks.classes(whole) if whole.scenes else classes(whole),
            "Mistakes": mistakes(means),
            "Uncertain": uncertain(means),
            "Evidence": inside.get("Evidence", ""),
            "Calibration": certainty(whole),
            "Network": inside.get("Network", ""),
            "Data": data(whole),
            "Configuration": configuration(record),
            "Environment": environment(first),
        }
    else:
        sections = _single(record)
    return document(f"{title_of(record)}: a convcraft run", _header(record), sections, _footer(record))


def _single(record: Record) -> dict[str, str]:
    return {
        "Curves": learning(record),
        "Diagnosis": diagnosis(record),
        "Confusion": confusion(record),
        "Classes": masks.classes(record) if record.scenes else classes(record),
        "Scenes": masks.scenes(record),
        "Mistakes": mistakes(record),
        "Uncertain": uncertain(record),
        "Evidence": evidence(record),
        "Calibration": certainty(record),
        "Network": network(record),
        "Data": data(record),
        "Configuration": configuration(record),
        "Environment": environment(record),
    }


def _header(record: Record) -> str:
    model, data = record.config.get("model") or {}, record.config.get("data") or {}
    what = " on ".join(text(part["name"]) for part in (model, data) if part.get("name"))
    if record.starts and record.starts[0].get("time"):
        what += f"{' · ' if what else ''}{text(moment(record.starts[0]['time']))}"
    what = f'<p class="muted">{what}</p>' if what else ""
    notes = "".join(f'<p class="notice">{text(note)}</p>' for note in [*_missing(record), *record.notes])
    command = record.config.get("command")
    again = (
        f'<p class="kicker again">Run it again</p><pre tabindex="0"><code>{text(command)}</code></pre>'
        if command
        else ""
    )
    return (
        f'<p class="kicker">convcraft run</p><h1>{text(title_of(record))}</h1>{what}'
        f"{_tiles(record)}{notes}{_split_table(record)}{again}"
    )


def _missing(record: Record) -> list[str]:
    """What the reader looks for and will not find, with the reason."""
    if record.parts:
        if record.splits:
            return []
        finished = sum(bool(part.splits) for part in record.parts.values())
        return [f"Not all seeds have finished, {finished} so far: there is no final result yet."]
    planned = (record.config.get("config") or {}).get("epochs")
    done = f"{len(record.epochs)} of {planned}" if isinstance(planned, int) else str(len(record.epochs))
    if not record.splits:
        return [f"This run has not finished ({done} epochs): there is no final result yet."]
    if not record.predictions and not (record.directory / "predictions.npz").exists():
        return ["predictions.npz is missing: no confusion matrix, no scores of the classes, no pictures."]
    return []


def _tiles(record: Record) -> str:
    """The few figures that a reader looks for first."""
    tiles: list[str] = []
    for split, measured in list(record.splits.items())[:1]:
        word = SPLITS.get(split, split).capitalize()
        for key in [key for key in MEASURES if key != "loss" and is_number(measured.get(key))]:
            value, about = _value(key, measured)
            tiles.append(tile(f"{word} {MEASURES[key]}", value, about, first=not tiles))
        tiles.append(tile(f"{word} loss", _number(measured["loss"])))
    model = record.config.get("model") or {}
    if is_number(model.get("parameters")):
        frozen = model["parameters"] - model.get("trainable", model["parameters"])
        about = f"{integer(frozen)} not trained" if frozen else ""
        tiles.append(tile("Parameters", integer(model["parameters"]), about))
    if is_number(model.get("multiply_adds")):
        tiles.append(tile("Multiply-adds", large(model["multiply_adds"]), "for one image"))
    seconds = record.metrics.get("seconds")
    if is_number(seconds):
        trained = [record, *record.parts.values()]
        tiles.append(tile("Wall time", duration(seconds), plural(sum(len(p.epochs) for p in trained), "epoch")))
    elif record.epochs:
        spent = sum(epoch["seconds"] for epoch in record.epochs if is_number(epoch.get("seconds")))
        tiles.append(tile("Time so far", duration(spent), plural(len(record.epochs), "epoch")))
    return f'<dl class="tiles">{"".join(tiles)}</dl>' if tiles else ""


def _value(key: str, measured: dict[str, Any]) -> tuple[str, str]:
    """A measure as it is written large, and what stands below it."""
    images = f"n = {integer(measured['n'])}" if is_number(measured.get("n")) else ""
    if "seeds" in measured:
        low, high = (f"{100 * bound:.2f}" for bound in measured[f"{key}_interval"])
        seeds = plural(len(measured["seeds"]), "seed")
        about = f"mean ± std of {seeds}; 95 % interval of the mean {low} to {high} %; {images} images"
        return several.plus_minus(key, measured[key], measured[f"{key}_std"]), about
    interval = _interval(measured) if key == "accuracy" else ""
    return percent(measured[key]), f"95 % interval {interval}, {images}" if interval else images


def tile(title: str, value: str, about: str = "", *, first: bool = False) -> str:
    """A figure written large, its title above and what it is about below."""
    more = f"<dd>{text(about)}</dd>" if about else ""
    look = f' class="first{" long" if len(value) > 9 else ""}"' if first else ""
    return f"<div{look}><dt>{text(title)}</dt><dd>{keep(value)}</dd>{more}</div>"


def _interval(measured: dict[str, Any]) -> str:
    """Wilson's 95 % interval of an accuracy; "" where the number of images is unknown, or pixels were counted."""
    if not measured.get("n") or not is_number(measured.get("accuracy")) or "mean_iou" in measured:
        return ""
    if "accuracy_interval" in measured:
        return "{:.2f} to {:.2f} %".format(*(100 * bound for bound in measured["accuracy_interval"]))
    low, high = wilson(measured["accuracy"], measured["n"])
    return f"{percent(low).removesuffix(' %')} to {percent(high)}"


def _split_table(record: Record) -> str:
    if len(record.splits) < 2:
        return ""
    rows = [
        [
            text(SPLITS.get(split, split)),
            percent(measured["accuracy"]) if is_number(measured.get("accuracy")) else "–",
            _interval(measured) or "–",
            _number(measured["loss"]),
            integer(measured["n"]) if is_number(measured.get("n")) else "–",
        ]
        for split, measured in record.splits.items()
    ]
    head = ["split", ">accuracy", ">95 % interval", ">loss", ">images"]
    return scroll("Results", table("", head, rows))


def _number(value: Any) -> str:
    return number(value) if isinstance(value, (int, float)) else "not a number"


def _footer(record: Record) -> str:
    version = text(record.config.get("convcraft") or "")
    return f"Written by convcraft {version} from the files of this run. The page loads nothing from the network."
