"""`convcraft check RECIPE`: what would spoil the training of a recipe, before it begins."""

import argparse

from . import catalog
from .options import recipe_options
from .quiet import import_keras

COMMAND = "convcraft check"


def check_command(options: argparse.Namespace) -> int:
    """Prints what was found wrong; the status is 1 where that is something."""
    name = options.recipe if options.recipe.endswith(".py") else catalog.require(options.recipe, ["recipe"])
    parser = _parser(name)
    own, words = parser.parse_known_args(options.options)
    if {"-h", "--help"} & set(words):
        parser.print_help()
        print(f"\nand those of the recipe, as in `convcraft train {name} --help`")
        return 0
    if own.steps < 0:
        raise ValueError(f"Expected --steps to be at least 0, received {own.steps}.")
    import_keras()
    from convcraft.training import check, loop, trial

    module = loop.load_recipe(name)
    model, data = trial.prepared(module, recipe_options(module.Config, words, prog=f"{COMMAND} {name}"))
    found = check(model, data, steps=own.steps)
    for finding in found.findings:
        certain = " (training is certain to fail)" if finding.name in found.fatal else ""
        print(f"\n{finding.name}{certain}\n  {finding.number}\n  {finding.advice}")
    if found:
        print(found.reason)
    for what in found.unknown:
        print(f"Not checked: {what}.")
    return 0 if found else 1


def _parser(recipe: str) -> argparse.ArgumentParser:
    """The options of the check, which may stand among the recipe's own."""
    from .cli import Parser

    parser = Parser(prog=f"{COMMAND} {recipe}", add_help=False, allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=100, help="to learn 16 images by heart; 0: do not (%(default)s)")
    return parser


def check_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft check` takes."""
    command.usage = f"{COMMAND} RECIPE [options]"
    command.epilog = f"Options follow, of the check and of the recipe: `{COMMAND} RECIPE --help`."
    command.add_argument("recipe", metavar="RECIPE", help="its name, or a recipe's file")
    command.set_defaults(options=[])
