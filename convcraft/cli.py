"""The command line: `convcraft list | info | explain | draw | train | evaluate | predict | copy | convert | report`.

Keras and TensorFlow take seconds to import, so each command imports what it needs and no more.
"""

import argparse
import difflib
import os
import pathlib
import sys
import zipfile
from collections.abc import Callable

from convcraft import __version__, catalog, zoo_commands

from .options import recipe_options as recipe_options
from .quiet import import_keras

EXAMPLES = """\
examples:
  convcraft train squeezenet_digits                  train on real handwritten digits, on any CPU
  convcraft train squeezenet_digits --help           the recipe's own options
  convcraft copy squeezenet_digits my.py             the recipe as a file of your own
  convcraft predict runs/squeezenet_digits a.png     what a trained model sees
"""


RESUMES = "interrupted; the same command goes on from the last checkpoint."


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 for bad use."""
    words = sys.argv[1:] if arguments is None else arguments
    return guarded(lambda: _dispatch(words), RESUMES if words[:1] == ["train"] else "interrupted.")


def guarded(action: Callable[[], object], interrupted: str = RESUMES) -> int:
    """Runs `action`; what its user got wrong becomes one line on stderr and status 2.

    With the environment variable CONVCRAFT_DEBUG set, errors keep their traceback.
    """
    # before TensorFlow is first imported: it prints to stderr, and takes all of a GPU's memory, otherwise
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show "…" gets "?"
            stream.reconfigure(errors="replace")
    try:
        action()
        sys.stdout.flush()  # here, where a reader that has left is still noticed
    except BrokenPipeError:  # `convcraft list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # what a shell reports of a process that ends so: 128 + SIGPIPE
    except KeyboardInterrupt:
        print(f"\nconvcraft: {interrupted}", file=sys.stderr)
        return 130
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("CONVCRAFT_DEBUG"):
            raise
        print(f"convcraft: {_sentence(error)}", file=sys.stderr)
        return 2
    return 0


def _sentence(error):
    """An error's message as one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}."
    if isinstance(error, ModuleNotFoundError):
        return f"There is no module {error.name!r} in {sys.executable}: install it first."
    return " ".join(str(error).split()) or type(error).__name__


def _dispatch(words):
    parser = _parser()
    if not words:
        parser.print_help()
        return
    command = words[0]
    if not command.startswith("-") and command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Expected one of {', '.join(COMMANDS)}."
        raise ValueError(f"There is no command {command!r}. {hint}")
    # the options after a recipe's name are the recipe's own
    own, rest = (words[:2], words[2:]) if command == "train" else (words, [])
    if own[1:] and command == "train" and own[1].startswith("-") and own[1] not in ("-h", "--help"):
        raise ValueError(
            f"Expected a recipe's name before its options, received {own[1]!r}. See `convcraft train --help`."
        )
    chosen = parser.parse_args(own)
    if command == "train":
        chosen.options = rest
    chosen.action(chosen)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        message = message.replace("the following arguments are required", "Expected")
        raise ValueError(f"{message[0].upper()}{message[1:]}. See `{self.prog} --help`.")


def _parser():
    parser = _Parser(
        prog="convcraft",
        description="Convolutional networks for Keras 3: a zoo of models, layers, and recipes to train and to copy.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"convcraft {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="", parser_class=_Parser)
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


def evaluate_command(options: argparse.Namespace) -> None:
    """`convcraft evaluate RUN|FILE [--data NAME|FOLDER]`."""
    path, model = _trained(options.model)
    import_keras()
    from convcraft.training import evaluate

    if options.data is None and model.is_dir():
        result = evaluate.evaluate_run(model, _seconds(model))
        splits = {key: value for key, value in result.items() if key in ("val", "test")}
    elif options.data is None:
        raise ValueError(f"{model} does not say what it was trained on: add --data NAME, FOLDER, .csv or .npz.")
    else:
        from convcraft import training
        from convcraft.training import check

        net = _load(path)
        height, width, channels = net.input_shape[1:]
        size = None if None in (height, width) else (height, width)
        data = training.data.load(options.data, size=size, channels=channels if channels in (1, 3) else None)
        check.fits(net, data)
        splits = {split: evaluate.score(net, data, split)[0] for split in ("val", "test") if split in data.counts}
    for split, numbers in splits.items():
        print(f"{split:<5} accuracy {numbers['accuracy']:.4f}  loss {numbers['loss']:.4f}  n {numbers['n']}")


def predict_command(options: argparse.Namespace) -> None:
    """`convcraft predict RUN|FILE PICTURE …`."""
    path, _ = _trained(options.model)
    missing = [name for name in options.pictures if not pathlib.Path(name).is_file()]
    if missing:
        raise FileNotFoundError(f"There is no picture {missing[0]!r}.")
    if options.top < 1:
        raise ValueError(f"Expected --top to be at least 1; received {options.top}.")
    import_keras()
    from convcraft.training import predict

    net = _load(path)
    for name in options.pictures:
        try:
            ((_, guesses),) = predict.pictures(net, [name], options.top)
        except ValueError as error:
            raise ValueError(f"{name}: {error}.") from None
        print(f"{name}  " + "  ".join(f"{label} {100 * share:.1f} %" for label, share in guesses))


def copy_command(options: argparse.Namespace) -> None:
    """`convcraft copy RECIPE FILE`."""
    name = catalog.require(options.recipe, ["recipe"])
    target = pathlib.Path(options.file)
    if target.suffix != ".py":
        raise ValueError(f"Expected FILE to end in .py, received {options.file!r}.")
    if target.exists() and not options.force:
        raise FileExistsError(f"{target} exists already: choose another name, or add --force.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}.")
    from convcraft import recipes

    source = pathlib.Path(recipes.__file__).parent / f"{name}.py"
    header = f"# Copied from the recipe {name} of convcraft {__version__}.\n"
    target.write_text(header + source.read_text(encoding="utf-8"), encoding="utf-8")
    print(f"{target} is yours: change it, and run `python {target}` (--help shows its options).")


def report_command(options: argparse.Namespace) -> None:
    """`convcraft report RUN`."""
    from convcraft.training import report

    _, run = _trained(options.run)
    if not run.is_dir():
        raise ValueError(f"Expected RUN to be a run's directory, received the file {run}.")
    print(report.write(run))


def _trained(name):
    """(the model's file, what was given) for a run's directory or a `.keras` file."""
    given = pathlib.Path(name)
    path = given / "model.keras" if given.is_dir() else given
    if given.is_dir():
        if not (given / "config.json").exists():
            raise FileNotFoundError(f"{given} is no run: it has no config.json.")
        _json(given / "config.json")
    if not path.exists():
        why = " yet: its training is not finished" if given.is_dir() else ""
        raise FileNotFoundError(f"There is no {path}{why}.")
    if path.suffix != ".keras":
        raise ValueError(f"Expected a run's directory or a .keras file, received {name!r}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no Keras model, or is cut short: a .keras file is a whole zip archive.")
    return path, given


def _load(path):
    """The model of a `.keras` file; it must take images."""
    from convcraft import zoo

    try:
        net = zoo.load_model(path)
    except Exception as error:  # whatever Keras stumbles over in a file
        if os.environ.get("CONVCRAFT_DEBUG"):
            raise
        said = " ".join(str(error).split())
        raise ValueError(f"Keras cannot load {path}: {type(error).__name__}: {said[:300]}") from None
    if len(getattr(net, "input_shape", None) or ()) != 4:
        raise ValueError(f"Expected a model of images, (height, width, channels); {path} is none.")
    return net


def _json(path):
    import json

    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Expected JSON in {path}; received: {error}.") from None


def _seconds(run):
    path = run / "metrics.json"
    return _json(path).get("seconds") if path.exists() else None


def _list_arguments(command: argparse.ArgumentParser) -> None:
    kinds = [*catalog.KINDS, *(f"{kind}s" for kind in catalog.KINDS)]
    command.add_argument("kind", nargs="?", choices=kinds, metavar="KIND", help="recipes, models or layers")


def _info_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", help="of a recipe, model or layer")


def _train_arguments(command: argparse.ArgumentParser) -> None:
    command.usage = "convcraft train RECIPE [options]"
    command.add_argument("recipe", metavar="RECIPE", help="a name, or a file of your own; --help after it: its options")


def _evaluate_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="RUN|FILE", help="a run's directory or a .keras file")
    command.add_argument("--data", help="other data: a name, a folder of class folders, a .csv or an .npz")


def _predict_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="RUN|FILE", help="a run's directory or a .keras file")
    command.add_argument("pictures", metavar="PICTURE", nargs="+", help="image files")
    command.add_argument("--top", type=int, default=3, help="how many classes to name (default 3)")


def _copy_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipe", metavar="RECIPE", help="its name")
    command.add_argument("file", metavar="FILE", help="the new Python file")
    command.add_argument("--force", action="store_true", help="write over an existing file")


def _report_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="a run's directory")


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
    "evaluate": (evaluate_command, "measure a trained model", _evaluate_arguments),
    "predict": (predict_command, "name what is in pictures", _predict_arguments),
    "copy": (copy_command, "copy a recipe to a file of your own", _copy_arguments),
    "convert": (
        zoo_commands.convert_command,
        "make a model of weights from PyTorch, Caffe or Keras",
        zoo_commands.convert_arguments,
    ),
    "report": (report_command, "write a run's report.html anew", _report_arguments),
}
