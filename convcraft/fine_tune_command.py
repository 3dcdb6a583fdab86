"""`convcraft fine-tune MODEL[:WEIGHTS] FOLDER`: a pretrained network for one's own photographs."""

import argparse
import pathlib

from . import sources
from .options import recipe_options
from .quiet import import_keras

COMMAND = "convcraft fine-tune"
RECIPE = "finetune_folder"


def fine_tune_command(options: argparse.Namespace) -> None:
    """Runs the recipe `finetune_folder`; its options stand behind FOLDER."""
    words = list(options.options)
    if not {"-h", "--help"} & set(words):
        _check(options.model, words)
    import_keras()
    from convcraft.training import loop

    module = loop.load_recipe(RECIPE)
    given = ["--model", _absolute(options.model), "--data", options.data]
    config = recipe_options(module.Config, [*given, *words], prog=f"{COMMAND} MODEL FOLDER")
    loop.execute(module, config, command=f"convcraft train {RECIPE}")


def _check(model: str, words: list[str]) -> None:
    """What can be refused without Keras."""
    scratch = "scratch" in [value for word, value in zip(words, words[1:], strict=False) if word == "--policy"]
    scratch = scratch or "--policy=scratch" in words
    named = model.partition(":")[0]
    if not (scratch and ":" not in model and not pathlib.Path(named).exists()):
        sources.find(model)  # a name of the zoo with its weights, a .keras file, a run's directory


def _absolute(model: str) -> str:
    """The same with paths that hold from every folder: the run's directory remembers them."""
    name, colon, weights = model.partition(":")
    if pathlib.Path(model).exists():
        return str(pathlib.Path(model).resolve())
    if colon and pathlib.Path(weights).expanduser().is_file():
        return f"{name}:{pathlib.Path(weights).expanduser().resolve()}"
    return model


def fine_tune_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft fine-tune` takes."""
    command.usage = f"{COMMAND} MODEL[:WEIGHTS] FOLDER [options]"
    command.epilog = (
        "Options follow, as --policy, --augment, --balance, --output: `convcraft fine-tune MODEL FOLDER --help`."
    )
    command.add_argument("model", metavar="MODEL[:WEIGHTS]", help=sources.HELP)
    command.add_argument("data", metavar="FOLDER", help="of class folders; a name, a .csv or an .npz as well")
    command.set_defaults(options=[])
