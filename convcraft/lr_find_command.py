"""`convcraft lr-find RECIPE`: which learning rates suit what a recipe trains."""

import argparse
import pathlib

from . import catalog
from .options import recipe_options
from .quiet import import_keras

COMMAND = "convcraft lr-find"


def lr_find_command(options: argparse.Namespace) -> None:
    """Prints the rates of a range test, and draws it."""
    name = options.recipe if options.recipe.endswith(".py") else catalog.require(options.recipe, ["recipe"])
    parser = _parser(name)
    test, words = parser.parse_known_args(options.options)
    if {"-h", "--help"} & set(words):
        parser.print_help()
        print(f"\nand those of the recipe, as in `convcraft train {name} --help`")
        return
    picture = pathlib.Path(test.plot).expanduser()
    if not picture.parent.is_dir():
        raise ValueError(f"Expected --plot in a folder that exists, received {test.plot}.")
    import_keras()
    from convcraft.training import find_lr, loop, trial

    module = loop.load_recipe(name)
    config = recipe_options(module.Config, words, prog=f"{COMMAND} {name}")
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


def _parser(recipe: str) -> argparse.ArgumentParser:
    """The options of the test, which may stand among the recipe's own."""
    from .cli import Parser

    parser = Parser(prog=f"{COMMAND} {recipe}", add_help=False, allow_abbrev=False)
    parser.add_argument("--start", type=float, default=1e-6, help="the first rate (%(default)g)")
    parser.add_argument(
        "--stop", type=float, default=10.0, help="the last; a broken training ends before (%(default)g)"
    )
    parser.add_argument("--steps", type=int, default=100, help="to take (%(default)s)")
    parser.add_argument("--ramp", choices=("exponential", "linear"), default="exponential", help="how the rate rises")
    parser.add_argument("--repeats", type=int, default=1, help="tests whose curves are averaged (%(default)s)")
    parser.add_argument("--plot", default="learning-rates.png", metavar="FILE", help="the picture (%(default)s)")
    return parser


def lr_find_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft lr-find` takes."""
    command.usage = f"{COMMAND} RECIPE [options]"
    command.epilog = f"Options follow, of the test and of the recipe: `{COMMAND} RECIPE --help`."
    command.add_argument("recipe", metavar="RECIPE", help="its name, or a recipe's file")
    command.set_defaults(options=[])
