"""`convcraft check RECIPE`: what would spoil the training of a recipe, before it begins."""

import argparse

from . import recipe_commands
from .quiet import import_keras

COMMAND = "convcraft check"


def check_command(options: argparse.Namespace) -> int:
    """Prints what was found wrong; the status is 1 where that is something."""
    given = recipe_commands.split(options, COMMAND, _own)
    if given is None:
        return 0
    name, own, words = given
    if own.steps < 0:
        raise ValueError(f"Expected --steps to be at least 0, received {own.steps}.")
    import_keras()
    from convcraft.training import check, trial

    model, data = trial.prepared(*recipe_commands.loaded(name, words, COMMAND))
    found = check(model, data, steps=own.steps)
    for finding in found.findings:
        certain = " (training is certain to fail)" if finding.name in found.fatal else ""
        print(f"\n{finding.name}{certain}\n  {finding.number}\n  {finding.advice}")
    if found:
        print(found.reason)
    for what in found.unknown:
        print(f"Not checked: {what}.")
    return 0 if found else 1


def _own(parser: argparse.ArgumentParser) -> None:
    """The options of the check, which may stand among the recipe's own."""
    parser.add_argument("--steps", type=int, default=100, help="to learn 16 images by heart; 0: do not (%(default)s)")


def check_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft check` takes."""
    recipe_commands.arguments(command, COMMAND, "[options]", "check")
