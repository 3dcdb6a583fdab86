"""The tables of `report.html` that say what was run: data, configuration, environment."""

from typing import Any

from .format import integer, moment, name, plain, scroll, section, table, text
from .predictions import FULL_MATRIX
from .run import SPLITS, Record


def keys(rows: list[tuple[str, str]], caption: str = "") -> str:
    """Names and values, both HTML, one pair a line."""
    body = "".join(f'<tr><th scope="row">{key}</th><td>{value}</td></tr>' for key, value in rows)
    caption = f"<caption>{caption}</caption>" if caption else ""
    return f'<table class="keys wide">{caption}<tbody>{body}</tbody></table>'


def data(record: Record) -> str:
    """Which data: name, hash, shape, and the images of each class in each split."""
    about = record.config.get("data") or {}
    if not about:
        return ""
    names = record.classes()
    rows = [("name", text(about["name"]))] if about.get("name") else []
    if about.get("image_shape"):
        rows.append(("image", " × ".join(text(side) for side in about["image_shape"])))
    if names:
        rows.append(("classes", integer(len(names))))
    if about.get("sha256"):
        rows.append(("SHA-256", f"<code>{text(about['sha256'])}</code>"))
    found = {split: value for split, value in (about.get("counts") or {}).items() if value}
    if found and all(set(value) == {"images"} for value in found.values()):  # whose pixels have the classes
        whole = [[text(SPLITS.get(split, split)), integer(value["images"])] for split, value in found.items()]
        listing = scroll("Images", table("", ["split", ">images"], whole))
        return section("data", "Data", keys(rows), f"<h3>Images</h3>{listing}")
    counts = {split: _counts(value, names) for split, value in found.items()}
    return section("data", "Data", keys(rows), _count_table(counts, names) if counts else "")


def _counts(counts: dict[str, int], names: list[str]) -> list[int]:
    return [counts.get(item, counts.get(str(i), 0)) for i, item in enumerate(names)]


def _count_table(counts: dict[str, list[int]], names: list[str]) -> str:
    splits = [text(SPLITS.get(split, split)) for split in counts]
    sums = [integer(sum(column)) for column in counts.values()]
    rows = [[name(item), *(integer(column[i]) for column in counts.values())] for i, item in enumerate(names)]
    full = table("", ["class", *(">" + split for split in splits)], rows, ["all", *sums])
    full = scroll("Images of each class", full, "tall" if len(names) > 40 else "")
    if len(names) <= FULL_MATRIX:
        return f"<h3>Images of each class</h3>{full}"
    short = [
        [split, total, f"{integer(min(column))} to {integer(max(column))}"]
        for split, total, column in zip(splits, sums, counts.values(), strict=True)
    ]
    head = ["split", ">images", ">in a class"]
    every = f"<details><summary>Every class</summary>{full}</details>"
    return f"<h3>Images</h3>{scroll('Images', table('', head, short))}{every}"


def configuration(record: Record) -> str:
    """Every field of the recipe's configuration."""
    fields = record.config.get("config") or {}
    if not fields:
        return ""
    rows = [(text(key), text(plain(value))) for key, value in fields.items()]
    return section("configuration", "Configuration", scroll("Configuration", keys(rows)))


def environment(record: Record) -> str:
    """Machine and versions of each start, what changed since the one before in bold."""
    if not record.starts:
        return ""
    found = [start.get("environment") or {} for start in record.starts]
    fields = list(dict.fromkeys(key for environment in found for key in environment))
    several = len(found) > 1
    columns = [_start(start, first=i == 0) for i, start in enumerate(record.starts)]
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{text(key.replace("_", " "))}</th>{"".join(_values(key, found))}</tr>' for key in fields
    )
    grid = f'<table class="keys wide"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>'
    said = f"<p>The run was started {len(found)} times; what changed in between is in bold.</p>" if several else ""
    return section("environment", "Environment", said, scroll("Environment", grid))


def _start(start: dict[str, Any], *, first: bool) -> str:
    place = start.get("resumed_at")
    if place:
        what = f"resumed in epoch {place.get('epoch', 0) + 1}, after {place.get('step', 0)} steps of it"
    else:
        what = "started" if first else "started anew"
    return f"{text(moment(start.get('time', '')))}<br>{what}"


def _values(key: str, found: list[dict[str, Any]]) -> list[str]:
    cells = []
    for i, environment in enumerate(found):
        changed = i > 0 and environment.get(key) != found[i - 1].get(key)
        cells.append(f"<td{' class=changed' if changed else ''}>{text(plain(environment.get(key)))}</td>")
    return cells
