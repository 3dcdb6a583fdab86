"""`convcraft lr-find RECIPE`: which learning rates suit what a recipe trains."""

import argparse
import pathlib

from . import recipe_commands
from .quiet import import_keras

COMMAND = "convcraft lr-find"


def lr_find_command(options: argparse.Namespace) -> None:
    """Prints the rates of a range test, and draws it."""
    given = recipe_commands.split(options, COMMAND, _own)
    if given is None:
        return
    name, test, words = given
    picture = pathlib.Path(test.plot).expanduser()
    if not picture.parent.is_dir():
        raise ValueError(f"Expected --plot in a folder that exists, received {test.plot}.")
    import_keras()
    from convcraft.training import find_lr, trial

    module, config = recipe_commands.loaded(name, words, COMMAND)
    settings = {key: value for key, value in vars(test).items() if key != "plot"}
    model, data = trial.prepared(module, config)
    print(f"At most {test.steps} steps, at rates from {test.start:g} to {test.stop:g} …", flush=True)
    found = find_lr(model, data, **settings)
    for rule, rate in found.suggestions.items():
        print(f"  {rule:<12}{rate:.2g}")
    print(f"  {'cycle':<12}{found.min_lr:.2g} to {found.max_lr:.2g}")
    print(f"The recipe's own is {config.learning_rate:g}.")
    found.plot().figure.savefig(picture, dpi=150)
    print(f"\n  the picture   {picture}")


def _own(parser: argparse.ArgumentParser) -> None:
    """The options of the test, which may stand among the recipe's own."""
    parser.add_argument("--start", type=float, default=1e-6, help="the first rate (%(default)g)")
    parser.add_argument(
        "--stop", type=float, default=10.0, help="the last; a broken training ends before (%(default)g)"
    )
    parser.add_argument("--steps", type=int, default=100, help="to take (%(default)s)")
    parser.add_argument("--ramp", choices=("exponential", "linear"), default="exponential", help="how the rate rises")
    parser.add_argument("--repeats", type=int, default=1, help="tests whose curves are averaged (%(default)s)")
    parser.add_argument("--plot", default="learning-rates.png", metavar="FILE", help="the picture (%(default)s)")


def lr_find_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft lr-find` takes."""
    recipe_commands.arguments(command, COMMAND, "[options]", "test")
