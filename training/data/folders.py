"""Folders of classes, and tables of paths: which file belongs to which class and split."""

import csv
import os
import pathlib
import re
from collections import defaultdict

from .files import Items, load_files
from .splits import SPLITS, Loaded, few

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
COLUMNS = {"file": ("file", "path", "filename", "image"), "label": ("label", "class"), "split": ("split",)}
HIDDEN = {"thumbs.db", "desktop.ini", "__macosx"}  # besides names that begin with a dot


def read_folder(root: pathlib.Path, size: tuple[int, int] | None, channels: int | None) -> Loaded:
    """Reads `root/<class>/**` or `root/{train,val,test}/<class>/**`.

    Args:
        root: the folder. Hidden files are skipped; other files that are not images are reported.
        size: (height, width): images are scaled to cover it, and what exceeds it around the centre is cut.
            None: images must be of one size.
        channels: 1 or 3 to force; None: grey if all files are, else RGB.

    Raises:
        ValueError: for a folder without classes, with an empty class, with splits that disagree, and the
            like.
    """
    folders = {path.name: path for path in _visible(root) if path.is_dir()}
    notes = []
    splits: dict[str, pathlib.Path] = {}
    roles = {name: SPLIT_NAMES.get(name.lower()) for name in folders}
    if any(roles[name] == "train" and _has_folders(path) for name, path in folders.items()):
        for name, path in folders.items():
            split = roles[name]
            if split in splits:
                raise ValueError(
                    f"Expected one folder for {split!r} in {root}, received {splits[split].name} and {name}."
                )
            if split:
                splits[split] = path
            else:
                notes.append(f"folder {name!r} ignored: it is none of train, val, test")
    elif folders and None not in roles.values():  # not classes: nobody tells training from test images
        raise ValueError(
            f"Expected a folder 'train', with a folder for each class, in {root}, received only "
            f"{few(sorted(folders))}, and no class folders in a 'train'."
        )
    else:
        splits = {"train": root}
    items: Items = {}
    classes: dict[str, list[str]] = {}
    for split in (name for name in SPLITS if name in splits):
        folder = splits[split]
        entries = _visible(folder)
        classes[split] = [path.name for path in entries if path.is_dir()]
        if not classes[split]:
            raise ValueError(
                f"Expected a folder for each class in {folder}, received "
                + (
                    f"files and no folder: {few([each.name for each in entries], 3)}."
                    if entries
                    else "an empty folder."
                )
            )
        stray = [path.name for path in entries if not path.is_dir()]
        if stray:
            notes.append(f"files of no class ignored in {folder}: {few(stray, 5)}")
        items[split] = [(file, name) for name in classes[split] for file in _walk(folder / name)]
    for split in items:
        differing = sorted(set(classes[split]) ^ set(classes["train"]))
        if differing:
            raise ValueError(f"Expected the same class folders in train and {split}, received {few(differing)} in one.")
    expected = {split: set(names) for split, names in classes.items()}
    return load_files(root, items, expected, classes["train"], notes, size, channels)


def read_csv(path: pathlib.Path, size: tuple[int, int] | None, channels: int | None) -> Loaded:
    """Reads a table of files (column `file` or `path`, relative to the table) and labels (`label` or
    `class`), in UTF-8.

    A third column, `split`, may say train, val or test. Labels are class names; where all are integers, the
    classes stand in numeric order. See `read_folder` for `size`, `channels` and errors.
    """
    try:
        items = _rows(path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected {path} in UTF-8, received {error.object[error.start : error.end]!r} in it."
        ) from None
    except csv.Error as error:
        raise ValueError(f"Expected {path} to be a table with commas: {error}.") from None
    names = {split: {name for _, name in rows} for split, rows in items.items()}
    if not names.get("train"):
        raise ValueError(f"Expected training images in {path}, received {len(items)} splits without any.")
    strange = sorted(set().union(*names.values()) - names["train"])
    if strange:
        raise ValueError(
            f"Expected the classes of {path} to be in its training rows, received {few(strange)} elsewhere."
        )
    numeric = all(re.fullmatch("-?[0-9]+", name) for name in names["train"])
    class_names = sorted(names["train"], key=int if numeric else str)
    return load_files(path.parent, items, names, class_names, [], size, channels)


def _rows(path: pathlib.Path) -> Items:
    """The files of a table with their labels, by split."""
    items: Items = defaultdict(list)
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        header = reader.fieldnames or []
        columns = {
            role: next((column for column in header if column.strip().lower() in known), None)
            for role, known in COLUMNS.items()
        }
        if not columns["file"] or not columns["label"]:
            raise ValueError(
                f"Expected the columns file (or path) and label (or class) in {path}, received {few(list(header))}."
            )
        for row in reader:
            name = (row[columns["label"]] or "").strip()
            split = (row[columns["split"]] or "train").strip().lower() if columns["split"] else "train"
            if not name or split not in SPLIT_NAMES:
                raise ValueError(
                    f"Expected a label, and a split among train, val and test, received label {name!r} and "
                    f"split {split!r} in line {reader.line_num} of {path}."
                )
            items[SPLIT_NAMES[split]].append((path.parent / (row[columns["file"]] or "").strip(), name))
    return items


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.iterdir() if not _hidden(path.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in HIDDEN


def _has_folders(folder: pathlib.Path) -> bool:
    return any(path.is_dir() for path in _visible(folder))


def _walk(folder: pathlib.Path) -> list[pathlib.Path]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _hidden(name)]
        found += [pathlib.Path(parent, name) for name in files if not _hidden(name)]
    return sorted(found)
