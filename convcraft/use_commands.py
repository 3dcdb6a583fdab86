"""The commands that use a trained model: `convcraft evaluate | predict`."""

import argparse
import pathlib

from . import sources
from .quiet import import_keras


def evaluate_command(options: argparse.Namespace) -> None:
    """`convcraft evaluate RUN|FILE [--data NAME|FOLDER]`."""
    path, model = sources.trained(options.model)
    import_keras()
    from convcraft.training import evaluate

    if options.data is None and model.is_dir():
        result = evaluate.evaluate_run(model, sources.seconds(model))
        splits = {key: value for key, value in result.items() if key in ("val", "test")}
    elif options.data is None:
        raise ValueError(f"{model} does not say what it was trained on: add --data NAME, FOLDER, .csv or .npz.")
    else:
        from convcraft import training
        from convcraft.training import check

        net = sources.load(path)
        height, width, channels = net.input_shape[1:]
        size = None if None in (height, width) else (height, width)
        data = training.data.load(options.data, size=size, channels=channels if channels in (1, 3) else None)
        check.fits(net, data)
        splits = {split: evaluate.score(net, data, split)[0] for split in ("val", "test") if split in data.counts}
    for split, numbers in splits.items():
        print(f"{split:<5} accuracy {numbers['accuracy']:.4f}  loss {numbers['loss']:.4f}  n {numbers['n']}")


def predict_command(options: argparse.Namespace) -> None:
    """`convcraft predict RUN|FILE PICTURE …`."""
    path, _ = sources.trained(options.model)
    missing = [name for name in options.pictures if not pathlib.Path(name).is_file()]
    if missing:
        raise FileNotFoundError(f"There is no picture {missing[0]!r}.")
    if options.top < 1:
        raise ValueError(f"Expected --top to be at least 1; received {options.top}.")
    import_keras()
    from convcraft.training import predict

    net = sources.load(path)
    for name in options.pictures:
        try:
            ((_, guesses),) = predict.pictures(net, [name], options.top)
        except ValueError as error:
            raise ValueError(f"{name}: {error}.") from None
        print(f"{name}  " + "  ".join(f"{label} {100 * share:.1f} %" for label, share in guesses))


def evaluate_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft evaluate` takes."""
    command.add_argument("model", metavar="RUN|FILE", help="a run's directory or a .keras file")
    command.add_argument("--data", help="other data: a name, a folder of class folders, a .csv or an .npz")


def predict_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft predict` takes."""
    command.add_argument("model", metavar="RUN|FILE", help="a run's directory or a .keras file")
    command.add_argument("pictures", metavar="PICTURE", nargs="+", help="image files")
    command.add_argument("--top", type=int, default=3, help="how many classes to name (default 3)")
