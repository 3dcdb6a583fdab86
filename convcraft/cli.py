"""The command line: `convcraft list | info | train | predict | copy | …`; COMMANDS below has them all.

Keras and TensorFlow take seconds to import, so each command imports what it needs and no more.
"""

import argparse
import difflib
import sys

from convcraft import (
    __version__,
    catalog,
    check_command,
    copying,
    ensemble_commands,
    fine_tune_command,
    labels_command,
    lr_find_command,
    size_commands,
    sources,
    use_commands,
    zoo_commands,
)

from .guarding import RESUMES, Parser, guarded
from .options import recipe_options
from .quiet import import_keras

EXAMPLES = """\
examples:
  convcraft train squeezenet_digits                  train on real handwritten digits, on any CPU
  convcraft train squeezenet_digits --help           the recipe's own options
  convcraft copy squeezenet_digits my.py             the recipe as a file of your own
  convcraft predict runs/squeezenet_digits a.png     what a trained model sees
"""


RECIPE_OPTIONS_AFTER = {"train": 2, "check": 2, "lr-find": 2, "cross-validate": 2, "fine-tune": 3}  # words before


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, 2 for bad use, or what the command returned."""
    words = sys.argv[1:] if arguments is None else arguments
    resumes = words[:1] in (["train"], ["fine-tune"], ["cross-validate"])
    return guarded(lambda: _dispatch(words), RESUMES if resumes else "interrupted.")


def _dispatch(words):
    parser = _parser()
    if not words:
        parser.print_help()
        return None
    command = words[0]
    if not command.startswith("-") and command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Expected one of {', '.join(COMMANDS)}."
        raise ValueError(f"There is no command {command!r}. {hint}")
    # the options after a recipe's name, or a model's and its data's, are the recipe's own
    taken = RECIPE_OPTIONS_AFTER.get(command)
    own, rest = words[:taken], words[taken:] if taken else []
    early = own[1] if command in ("train", "check", "lr-find", "cross-validate") and own[1:] else ""
    if early.startswith("-") and early not in ("-h", "--help"):
        raise ValueError(
            f"Expected a recipe's name before its options, received {early!r}. See `convcraft {command} --help`."
        )
    chosen = parser.parse_args(own)
    if taken:
        chosen.options = rest
    return chosen.action(chosen)


def _parser():
    parser = Parser(
        prog="convcraft",
        description="Convolutional networks for Keras 3: a zoo of models, layers, and recipes to train and to copy.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"convcraft {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="", parser_class=Parser)
    for name, (action, described, add_arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=described, description=described)
        add_arguments(command)
        command.set_defaults(action=action)
    return parser


def list_command(options: argparse.Namespace) -> None:
    """`convcraft list`."""
    wanted = [kind for kind in catalog.KINDS if options.kind in (None, kind, f"{kind}s")]
    for number, kind in enumerate(wanted):
        entries = catalog.entries(kind)
        width = max(map(len, entries)) + 2
        print(("\n" if number else "") + f"{kind}s")
        for name, summary in entries.items():
            print(f"  {name:<{width}}{summary}")
    if len(wanted) > 1:
        print("\n`convcraft info NAME` tells more of each.")


def info_command(options: argparse.Namespace) -> None:
    """`convcraft info NAME`."""
    name = catalog.require(options.name)
    kind = catalog.kind_of(name)
    if kind == "recipe":
        print(f"{name}, a recipe\n\n{catalog.docstring('recipes', name)}")
    elif kind == "layer":
        from convcraft import layers

        print(f"convcraft.layers.{name}\n\n{catalog.docstring('layers', layers.EXPORTS[name] or name, name)}")
    else:
        zoo_commands.model_info(name)


def train_command(options: argparse.Namespace) -> None:
    """`convcraft train RECIPE [options]`."""
    name = options.recipe
    if not name.endswith(".py"):
        name = catalog.require(name, ["recipe"])
    import_keras()
    from convcraft.training import loop

    module = loop.load_recipe(name)
    command = f"convcraft train {name}"
    config = recipe_options(module.Config, options.options, prog=command)
    loop.execute(module, config, command=command)


def report_command(options: argparse.Namespace) -> None:
    """`convcraft report RUN [OTHER]`."""
    from convcraft.training import report

    runs = []
    for name, said in (("RUN", options.run), ("OTHER", options.other)):
        if said is not None:
            source = sources.find(said)
            if source.run is None:
                raise ValueError(f"Expected {name} to be a run's directory, received {said!r}.")
            runs.append(source.run)
    print(report.write(runs[0]))
    if len(runs) == 2:
        print(report.compare(*runs))


def _list_arguments(command: argparse.ArgumentParser) -> None:
    kinds = [*catalog.KINDS, *(f"{kind}s" for kind in catalog.KINDS)]
    command.add_argument("kind", nargs="?", choices=kinds, metavar="KIND", help="recipes, models or layers")


def _info_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", help="of a recipe, model or layer")


def _train_arguments(command: argparse.ArgumentParser) -> None:
    command.usage = "convcraft train RECIPE [options]"
    command.add_argument("recipe", metavar="RECIPE", help="a name, or a file of your own; --help after it: its options")


def _report_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="a run's directory")
    command.add_argument("other", nargs="?", metavar="OTHER", help="another's, to compare it with on a page of its own")


COMMANDS = {
    "list": (list_command, "what there is: recipes, models, layers", _list_arguments),
    "info": (info_command, "what is known of a recipe, model or layer", _info_arguments),
    "explain": (
        zoo_commands.explain_command,
        "a model part by part: cost, paper, advice that it shows",
        zoo_commands.explain_arguments,
    ),
    "draw": (
        zoo_commands.draw_command,
        "a picture of a model: stages, blocks, where its cost lies",
        zoo_commands.draw_arguments,
    ),
    "train": (train_command, "train a recipe; the same again resumes", _train_arguments),
    "check": (
        check_command.check_command,
        "what would spoil a recipe's training, before it begins",
        check_command.check_arguments,
    ),
    "lr-find": (
        lr_find_command.lr_find_command,
        "which learning rates suit a recipe: a range test and its picture",
        lr_find_command.lr_find_arguments,
    ),
    "advise": (
        size_commands.advise_command,
        "which models suit images, classes and budget, by what was measured",
        size_commands.advise_arguments,
    ),
    "fit-width": (
        size_commands.fit_width_command,
        "the widest form of a model within a budget",
        size_commands.fit_width_arguments,
    ),
    "grow": (
        size_commands.grow_command,
        "from a linear model up, while validation improves",
        size_commands.grow_arguments,
    ),
    "cross-validate": (
        ensemble_commands.cross_validate_command,
        "which settings of a recipe are best, by folds of its images",
        ensemble_commands.cross_validate_arguments,
    ),
    "fine-tune": (
        fine_tune_command.fine_tune_command,
        "fit a pretrained model to a folder of your own images",
        fine_tune_command.fine_tune_arguments,
    ),
    "check-labels": (
        labels_command.labels_command,
        "find labels that are probably wrong: a page of pictures and a table",
        labels_command.labels_arguments,
    ),
    "evaluate": (use_commands.evaluate_command, "measure a trained model", use_commands.evaluate_arguments),
    "predict": (use_commands.predict_command, "name what is in pictures", use_commands.predict_arguments),
    "export": (use_commands.export_command, "write a model for other runtimes, checked", use_commands.export_arguments),
    "ensemble": (
        ensemble_commands.ensemble_command,
        "several trained models as one, that vote",
        ensemble_commands.ensemble_arguments,
    ),
    "copy": (copying.copy_command, "copy a recipe to a file of your own", copying.copy_arguments),
    "convert": (
        zoo_commands.convert_command,
        "make a model of weights from PyTorch, Caffe or Keras",
        zoo_commands.convert_arguments,
    ),
    "verify": (
        zoo_commands.verify_command,
        "measure the package's weights again, against their cards",
        zoo_commands.verify_arguments,
    ),
    "report": (report_command, "write a run's report.html anew, or compare two runs", _report_arguments),
}
