"""The commands that choose a size: `convcraft advise | fit-width | grow`."""

import argparse
import pathlib

from . import catalog
from .quiet import import_keras

UNITS = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


def amount(word: str) -> float:
    """A number, also as 500k, 1M, 2.5G or 1e6."""
    unit = UNITS.get(word[-1:].lower())
    try:
        return float(word[:-1]) * unit if unit else float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, as 500k, 1M or 2G; received {word!r}") from None


def advise_command(options: argparse.Namespace) -> None:
    """Prints what `training.advise` says of a task, or of the user's own data."""
    asked = {name: getattr(options, name) for name in ("image_size", "classes", "images_per_class", "channels")}
    given = {name: value for name, value in asked.items() if value is not None}
    missing = [flag(name) for name in ("image_size", "classes", "images_per_class") if name not in given]
    if options.data is None and missing:
        raise ValueError(f"Expected DATA, or {', '.join(missing)}, as in `convcraft advise --image-size 64 …`.")
    import_keras()
    from convcraft.training.sizing import advising

    task = {} if options.data is None else advising.task_of(options.data, options.image_size)
    task |= given
    said = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in task.items())
    print(f"For {said}:\n", flush=True)
    names = ("parameters", "multiply_adds", "memory", "step_seconds", "accuracy", "batch_size", "timed", "most")
    print(advising.advise(**task, **{name: getattr(options, name) for name in names}))


def fit_width_command(options: argparse.Namespace) -> None:
    """Prints the widest form of a model within the budgets."""
    name = catalog.require(options.model, ["model"])
    budgets = {name: getattr(options, name) for name in ("parameters", "multiply_adds", "memory", "step_seconds")}
    if all(value is None for value in budgets.values()):
        raise ValueError(f"Expected a budget: {', '.join(map(flag, budgets))}.")
    import_keras()
    from convcraft import training, zoo

    side = options.image_size or zoo.info(name).input_shape[0]
    shape = (side, side, options.channels)
    given = {} if options.classes is None else {"classes": options.classes}
    found = training.fit_width(name, batch_size=options.batch_size, input_shape=shape, **given, **budgets)
    for budget, value in found.spent.items():
        print(f"  {budget.replace('_', ' '):<15}{value:,.4g} of {budgets[budget]:,.4g}")
    print(f"  {'width':<15}{found.width:.4g}, limited by: {found.limit.replace('_', ' ')}")
    rest = f"{found.model.output_shape[-1]}, {shape}, design=zoo.Design(width={found.width:.6g})"
    print(f"\n  zoo.create({name!r}, {rest})")


def grow_command(options: argparse.Namespace) -> None:
    """Prints each size as it is trained, and the table of all."""
    if options.batch_size < 1 or not 0 < options.validation < 1:
        raise ValueError("Expected --batch-size from 1 on, and --validation between 0 and 1.")
    import_keras()
    from convcraft import training

    data = training.data.load(
        options.data,
        size=options.image_size,
        batch_size=options.batch_size,
        validation=options.validation,
        seed=options.seed,
    )
    folder = pathlib.Path(options.output).expanduser()
    names = ("epochs", "learning_rate", "level", "patience", "most", "seed")
    found = training.grow(data, directory=folder, verbose=True, **{name: getattr(options, name) for name in names})
    print(f"\n{found}\n\n  the model     {folder / 'model.keras'}")


def flag(name: str) -> str:
    """A name as it is typed."""
    return "--" + name.replace("_", "-")


def _budgets(command: argparse.ArgumentParser) -> None:
    command.add_argument("--parameters", type=amount, help="at most so many, as 1M")
    command.add_argument("--multiply-adds", type=amount, help="of one image, at most so many, as 50M")
    command.add_argument("--memory", type=amount, help="bytes that training a batch takes, at most, as 2G")
    command.add_argument("--step-seconds", type=float, help="of a training step, at most, measured on this machine")
    command.add_argument("--batch-size", type=int, default=32, help="for memory and steps (%(default)s)")


def advise_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft advise` takes."""
    command.add_argument("data", metavar="DATA", nargs="?", help="a folder, .csv, .npz or name, to read the rest from")
    command.add_argument("--image-size", type=int, help="height and width in pixels")
    command.add_argument("--classes", type=int, help="their number")
    command.add_argument("--images-per-class", type=amount, help="to train on")
    command.add_argument("--channels", type=int, choices=(1, 3), help="1 for grey images (default: 3, or the data's)")
    _budgets(command)
    command.add_argument("--accuracy", type=float, help="wanted share of right answers, as 0.9")
    command.add_argument("--timed", action="store_true", help="measure the training step of those advised")
    command.add_argument("--most", type=int, default=5, help="models to advise (%(default)s)")


def fit_width_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft fit-width` takes."""
    command.add_argument("model", metavar="MODEL", help="of the zoo, as resnet20_cifar")
    command.add_argument("--image-size", type=int, help="height and width in pixels (default: the paper's)")
    command.add_argument("--channels", type=int, choices=(1, 3), default=3, help="of the images (%(default)s)")
    command.add_argument("--classes", type=int, help="their number (default: the paper's)")
    _budgets(command)


def grow_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft grow` takes."""
    command.add_argument("data", metavar="DATA", help="a folder of class folders, a .csv, an .npz or a name")
    command.add_argument("--output", default="runs/grow", help="where models go; the same again goes on (%(default)s)")
    command.add_argument("--image-size", type=int, help="height and width in pixels (default: the data's own)")
    command.add_argument("--batch-size", type=int, default=32, help="images a step (%(default)s)")
    command.add_argument(
        "--validation", type=float, default=0.2, help="share to judge by, where none is apart (%(default)s)"
    )
    command.add_argument("--epochs", type=int, default=15, help="of each training (%(default)s)")
    command.add_argument("--learning-rate", type=float, default=2e-3, help="Adam's (%(default)s)")
    command.add_argument("--level", type=float, default=0.05, help="chance below which a gain counts (%(default)s)")
    command.add_argument("--patience", type=int, default=2, help="rounds that beat nothing (%(default)s)")
    command.add_argument("--most", type=int, default=12, help="trainings (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of weights, order and validation split (%(default)s)")
