"""What commands share that take a recipe, and its options among their own: check, lr-find, cross-validate."""

import argparse
import types
from collections.abc import Callable
from typing import Any

from . import catalog
from .guarding import Parser
from .options import recipe_options


def split(
    options: argparse.Namespace, command: str, add: Callable[[argparse.ArgumentParser], None]
) -> tuple[str, argparse.Namespace, list[str]] | None:
    """The recipe's name, the command's own options, and the words that are the recipe's; None after --help.

    Args:
        options: with `recipe`, and all words behind it as `options`.
        command: as it is called, "convcraft check".
        add: gives a parser the command's own options.

    Raises:
        ValueError: for a recipe that there is not.
    """
    name = options.recipe if options.recipe.endswith(".py") else catalog.require(options.recipe, ["recipe"])
    parser = Parser(prog=f"{command} {name}", add_help=False, allow_abbrev=False)
    add(parser)
    own, words = parser.parse_known_args(options.options)
    if {"-h", "--help"} & set(words):
        parser.print_help()
        print(f"\nand those of the recipe, as in `convcraft train {name} --help`")
        return None
    return name, own, words


def loaded(name: str, words: list[str], command: str) -> tuple[types.ModuleType, Any]:
    """The recipe's module, and its `Config` from the words."""
    from convcraft.training import loop

    module = loop.load_recipe(name)
    return module, recipe_options(module.Config, words, prog=f"{command} {name}")


def arguments(parser: argparse.ArgumentParser, command: str, usage: str, what: str) -> None:
    """What argparse knows of such a command; the rest is read by `split`."""
    parser.usage = f"{command} RECIPE {usage}"
    parser.epilog = f"Options follow, of the {what} and of the recipe: `{command} RECIPE --help`."
    parser.add_argument("recipe", metavar="RECIPE", help="its name, or a recipe's file")
    parser.set_defaults(options=[])
