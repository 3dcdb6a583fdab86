"""A run's directory: which one, and the plain files in it."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable
from typing import IO, Any

from .common import AUTO, Common

STATE = pathlib.Path("checkpoint", "state.npz")
# options that may change between two starts of one run
UNCOMPARED = {"output", "check", "time_limit", "strategy", "tensorboard"}


def choose(wanted: str | os.PathLike[str] | None, recipe: str, config: Common) -> pathlib.Path:
    """The directory of this run.

    Args:
        wanted: as the user said; or empty for `runs/RECIPE`, or the first of `runs/RECIPE-2`, … that is free or
            belongs to an unfinished run with the same options.
        recipe: the recipe's name.
        config: its options.

    Raises:
        ValueError: if `wanted` holds something else, saying what.
    """
    if wanted:
        directory = pathlib.Path(wanted).resolve()
        differs = _differences(directory, recipe, config)
        if differs:
            raise ValueError(
                f"{directory} holds another run ({', '.join(differs)}). Expected the same options, to resume it, or "
                "another --output."
            )
        return directory
    number = 1
    while True:
        directory = pathlib.Path("runs", recipe if number == 1 else f"{recipe}-{number}").resolve()
        unfinished = not (directory / "metrics.json").exists()
        if unfinished and not _differences(directory, recipe, config):
            return directory
        number += 1


def _differences(directory: pathlib.Path, recipe: str, config: Common) -> list[str]:
    """What in `directory` speaks against resuming there, as short phrases."""
    if not directory.exists():
        return []
    if not directory.is_dir():
        return ["it is a file"]
    if not (directory / "config.json").exists():
        names = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
        strangers = sorted(names - {"recipe.py", "checkpoint", "history.jsonl"})
        return [f"files of no run, such as {strangers[0]}"] if strangers else []
    before = read_json(directory / "config.json")
    if before["recipe"] != recipe:
        return [f"the recipe {before['recipe']}"]
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    then = {**_defaults(config), **before["config"]}  # an older version had fewer options
    if min(then["seeds"], now["seeds"]) > 1:
        then["seeds"] = now["seeds"]  # more seeds, or fewer, of the same
    if now["batch_size"] == AUTO:
        then["batch_size"] = AUTO  # what was found before, or asked for, stays
    keys = sorted((set(then) | set(now)) - UNCOMPARED)
    return [f"{key}={then.get(key)!r} there, {now.get(key)!r} here" for key in keys if then.get(key) != now.get(key)]


def _defaults(config: Common) -> dict[str, Any]:
    fields = dataclasses.fields(config)
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def read_history(path: pathlib.Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of a history.jsonl: (starts, epochs). A torn last line is left out."""
    starts: list[dict[str, Any]] = []
    epochs: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                row = json.loads(line)
                (starts if row["event"] == "start" else epochs).append(row)
    return starts, epochs


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file."""
    return json.loads(pathlib.Path(path).read_text())


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes a JSON file whole or not at all."""
    text = json.dumps(content, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def write_atomically(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write(file)` on a temporary binary file beside `path`, and renames it when it is safely on disk."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
