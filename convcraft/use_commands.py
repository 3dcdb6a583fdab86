"""The commands that use a trained model: `convcraft evaluate | predict | export`."""

import argparse
import glob
import os
import pathlib
import sys
from typing import Any

from . import printing, sources
from .quiet import import_keras, stderr_filtered

FORMATS = ("savedmodel", "onnx", "tflite")


def evaluate_command(options: argparse.Namespace) -> None:
    """`convcraft evaluate SOURCE [--data NAME|FOLDER]`."""
    source = sources.find(options.source)
    import_keras()
    from convcraft.training import evaluate

    if options.data is None and options.preprocessing:
        raise ValueError("Expected --preprocessing with --data; a run's own images are as its model had them.")
    if options.data is None and source.run:
        result = evaluate.evaluate_run(source.run, sources.seconds(source.run))
        splits = {key: value for key, value in result.items() if key in ("val", "test")}
    elif options.data is None:
        raise ValueError(f"{source.said} does not say what it was trained on: add --data NAME, FOLDER, .csv or .npz.")
    else:
        wanted = ("train", "val", "test") if options.all else ("val", "test")
        notes: list[str] = []  # told where there are numbers beside them; an error stands alone
        splits = evaluate.on_data(
            sources.load_for_raw(source, options.preprocessing),
            options.data,
            wanted,
            options.image_size,
            notes.append,
            named=bool(source.run),
        )
        for note in notes:
            _aside(note)
        if options.all:
            splits["all"] = _together(list(splits.values()))
        else:
            _aside("Its training images are not measured; --all measures them, too.")
    for split, numbers in splits.items():
        print(f"{split:<5} {_measures(numbers)}")


def predict_command(options: argparse.Namespace) -> int:
    """`convcraft predict SOURCE PICTURE|FOLDER …`; returns 1 where a picture could not be read, else 0."""
    source = sources.find(options.source)
    for name, least in (("top", 1), ("batch_size", 1), ("samples", 0), ("image_size", 0)):
        if getattr(options, name) < least:
            flag = name.replace("_", "-")
            raise ValueError(f"Expected --{flag} to be at least {least}; received {getattr(options, name)}.")
    if options.samples == 1:
        raise ValueError("Expected --samples to be at least 2, for one has no deviation; received 1.")
    paths = picture_files(options.pictures)
    if options.output and not pathlib.Path(options.output).parent.is_dir():
        raise FileNotFoundError(f"There is no folder {pathlib.Path(options.output).parent}.")
    import_keras()
    import keras

    from convcraft.training import predict, rundir

    keras.utils.set_random_seed(options.seed)  # of dropout
    net = sources.load_for_raw(source, options.preprocessing)
    found = predict.pictures(
        net,
        paths,
        options.top,
        head=options.head,
        names=sources.names(source, net),
        samples=options.samples,
        batch_size=options.batch_size,
        size=(options.image_size,) * 2 if options.image_size else None,
    )
    write, good, broken = printing.FORMATS[options.format], [], 0
    live = options.format == "text" and not options.output  # a folder may be long
    for prediction in found:
        if prediction.error:
            broken += 1
            print(f"convcraft: {prediction.path}: {prediction.error.rstrip('.')}.", file=sys.stderr)
        elif live:
            print(printing.line(prediction), flush=True)
        else:
            good.append(prediction)
    if options.output:
        content = write(good).encode("utf-8", "surrogateescape")  # file names need not be UTF-8
        rundir.write_atomically(options.output, lambda file: file.write(content))
        print(f"{options.output}: {len(good)} pictures" + (f"; {broken} could not be read." if broken else "."))
    elif not live:
        print(write(good), end="")
    return int(broken > 0)


def export_command(options: argparse.Namespace) -> None:
    """`convcraft export SOURCE FILE [--format savedmodel|onnx|tflite]`."""
    source, target = sources.find(options.source), pathlib.Path(options.file)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}.")
    if target.exists():
        raise FileExistsError(f"{target} exists already: choose another name, or remove it.")
    if not options.tolerance >= 0:
        raise ValueError(f"Expected --tolerance to be at least 0; received {options.tolerance}.")
    pictures = picture_files(options.pictures) if options.pictures else []
    import_keras()
    import numpy as np

    from convcraft.training import exporting, predict

    exporting.kind_of(target, options.format)  # before a model is loaded, or downloaded
    net = sources.load_for_raw(source, options.preprocessing)
    images = None
    if pictures:
        read, found = predict.reader(net, _checked_size(net)), []
        for path in pictures:
            try:
                found.append(read(path))
            except (OSError, ValueError) as error:
                raise ValueError(f"Expected --pictures that can be read; {path}: {error}") from None
        images = np.stack(found).astype("float32")
    with stderr_filtered():  # TensorFlow's converters tell what they do
        done = exporting.export(net, target, options.format, images=images, tolerance=options.tolerance)
    share = done.difference / done.largest if done.largest else 0.0
    print(
        f"{done.path}: {done.format}, takes raw images. On {done.pictures} pictures its outputs differ from Keras's by "
        f"at most {done.difference:.2g}, {share:.1g} of the largest."
    )
    names = sources.names(source, net)
    if names:
        beside = target / "classes.txt" if target.is_dir() else target.with_name(f"{target.name}.classes.txt")
        beside.write_text("\n".join(names) + "\n", encoding="utf-8")
        print(f"{beside}: the names of its {len(names)} outputs.")


def _aside(line: str) -> None:
    """What is no result does not stand among them."""
    print(line, file=sys.stderr)


def _together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the images of several splits."""
    count = sum(part["n"] for part in parts)
    means = {name: sum(part[name] * part["n"] for part in parts) / count for name in ("accuracy", "loss")}
    return {**means, "n": count}


def _measures(numbers: dict[str, Any]) -> str:
    """What was measured, in one line; with its standard deviation where several seeds were."""
    parts = []
    for name, value in numbers.items():
        if isinstance(value, float) and not name.endswith("_std"):
            spread = f" ± {numbers[f'{name}_std']:.4f}" if f"{name}_std" in numbers else ""
            parts.append(f"{name} {value:.4f}{spread}")
    seeds = f" ({len(numbers['seeds'])} seeds)" if "seeds" in numbers else ""
    return "  ".join([*parts, f"n {numbers['n']}{seeds}"])


def picture_files(names: list[str]) -> list[pathlib.Path]:
    """The files that PICTURE and FOLDER stand for: folders are walked, in order, without what is hidden.

    Of a folder those files count whose suffix is a picture's; a file that is named is taken whatever it is called.

    What is no file and has a wildcard is a pattern, as Windows leaves it: `*.jpg`, `trip/**/*.png`.

    Raises:
        FileNotFoundError: for what is not there, and a folder without pictures.
    """
    from PIL import Image

    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN} - {".pdf"}
    files: list[pathlib.Path] = []
    for name in names:
        path = pathlib.Path(name)
        if path.is_dir():
            found = []
            for parent, folders, within in os.walk(path):
                folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
                found += [
                    pathlib.Path(parent, file)
                    for file in sorted(within)
                    if not file.startswith(".") and pathlib.Path(file).suffix.lower() in suffixes
                ]
            if not found:
                raise FileNotFoundError(f"There are no pictures in {name!r}.")
            files += found
        elif path.is_file():
            files.append(path)
        elif glob.has_magic(name) and (matching := sorted(glob.glob(name, recursive=True))):
            files += picture_files([each for each in matching if "**" not in name or os.path.isfile(each)])
        else:
            raise FileNotFoundError(f"There is no picture or folder {name!r}.")
    return files


def _checked_size(net):
    from convcraft.training.exporting import OPEN

    return (OPEN, OPEN) if None in net.input_shape[1:3] else None


def _source_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="SOURCE", help=sources.HELP)
    command.add_argument(
        "--preprocessing",
        choices=("raw", "0-1", "tf", "torch", "caffe"),
        help="what a Keras model without preprocessing of its own was trained on (known of keras.applications)",
    )


def evaluate_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft evaluate` takes."""
    _source_arguments(command)
    command.add_argument("--data", help="other data: a name, a folder of class folders, a .csv or an .npz")
    command.add_argument("--all", action="store_true", help="with --data: its training images, too")
    command.add_argument("--image-size", type=int, default=0, help="with --data, for a model that takes any size")


def predict_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft predict` takes."""
    command.description = "Name what is in pictures. The status is 1 where one of them could not be read, else 0."
    _source_arguments(command)
    command.add_argument("pictures", metavar="PICTURE", nargs="+", help="image files, and folders, also within folders")
    command.add_argument("--top", type=int, default=3, help="how many classes to name (default 3)")
    command.add_argument("--format", choices=tuple(printing.FORMATS), default="text", help="text, json or csv")
    command.add_argument("--output", metavar="FILE", help="write there instead of printing")
    command.add_argument(
        "--samples", type=int, default=0, help="look so many times with dropout on: mean, deviation and entropy"
    )
    command.add_argument("--seed", type=int, default=0, help="of the samples (default 0)")
    command.add_argument("--batch-size", type=int, default=32, help="pictures at a time (default 32)")
    command.add_argument("--image-size", type=int, default=0, help="for a model that takes any size")
    command.add_argument(
        "--head", choices=("softmax", "multilabel", "regression"), help="what the outputs mean, where nothing tells"
    )


def export_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft export` takes."""
    _source_arguments(command)
    command.add_argument("file", metavar="FILE", help="the new .onnx or .tflite file; a folder for savedmodel")
    command.add_argument("--format", choices=FORMATS, help="where FILE does not tell; without a suffix: savedmodel")
    command.add_argument(
        "--pictures", metavar="PICTURE", nargs="+", help="to compare on (default: photographs of scikit-learn's)"
    )
    command.add_argument(
        "--tolerance", type=float, default=1e-3, help="how far outputs may differ, of the largest (default 0.001)"
    )
