"""`convcraft ensemble` and `convcraft cross-validate`: several models as one, and which settings are best."""

import argparse
import pathlib
from typing import TYPE_CHECKING, Any

from . import recipe_commands, sources
from .quiet import import_keras

if TYPE_CHECKING:
    from convcraft.training.data import Data

CROSS_VALIDATE = "convcraft cross-validate"
WEIGHTS = ("mean", "fitted", "stacked")
FITTED = ("fitted", "stacked")


def ensemble_command(options: argparse.Namespace) -> None:
    """`convcraft ensemble SOURCE SOURCE … --output FILE.keras`."""
    if len(options.sources) < 2:
        raise ValueError(f"Expected two sources at least, received {', '.join(options.sources) or 'none'}.")
    found = [sources.find(each) for each in options.sources]
    path = pathlib.Path(options.output).expanduser()
    if path.suffix != ".keras" or not path.parent.is_dir():
        raise ValueError(f"Expected --output to be a .keras file in a folder that exists, received {options.output}.")
    if path.exists():
        raise FileExistsError(f"{path} exists already: choose another name, or remove it.")
    if options.mirrors and options.weights == "stacked":
        raise ValueError("Expected --mirrors with --weights mean or fitted, received stacked.")
    run = _held_out(found) if options.weights in FITTED else None
    if options.weights in FITTED and not (options.data or run):
        raise ValueError(f"Expected --data to fit to, for no source is a run's directory; --weights {options.weights}.")
    import_keras()
    from convcraft import training
    from convcraft.training.runs import save_model

    members = [sources.load(each) for each in found]
    if options.weights == "mean":
        net = training.Ensemble(members, mirrors=options.mirrors)
    else:
        data = _data(options, members, run)
        images = sum(data.counts["val"].values()) if "val" in data.counts else 0
        print(f"Fitted to {images} validation images.", flush=True)
        if options.weights == "stacked":
            net = training.stack(members, data)
        else:
            weights = training.fit_weights(members, data, mirrors=options.mirrors)
            for said, weight in zip(options.sources, weights, strict=True):
                print(f"  {weight:.3f}  {said}" + ("" if weight else "  (left out)"))
            net = training.Ensemble(members, weights=weights, mirrors=options.mirrors)
    save_model(net, path)
    print(f"\n  the model     {path}\n\nTry next:")
    print(f"  convcraft evaluate {path} --data NAME\n  convcraft predict {path} PICTURE …")


def _held_out(found: list[sources.Source]) -> pathlib.Path | None:
    """The run among the sources, that of the largest images, whose validation images none was trained on; or None.

    Raises:
        ValueError: where runs held out different ones: a member would be weighed on images that it knows.
    """
    seen: dict[tuple[Any, ...], str] = {}
    runs = []
    for source in found:
        if source.run is None:
            continue
        run, described = source.run, sources.read_json(source.run / "config.json")
        data, seed = described["data"], described["config"]["seed"]
        if described["config"].get("seeds", 1) > 1:  # the model of several seeds is that of one of them
            seed = sources.read_json(run / "metrics.json")["chosen"]
            run = run / f"seed-{seed}"
        fold = data["name"].rpartition("@")[2] if "@" in data["name"] else ""
        seen[data["sha256"], fold or seed] = source.said
        runs.append((data["image_shape"], run))
    if len(seen) > 1:
        one, other = list(seen.values())[:2]
        raise ValueError(
            f"{one} and {other} held out different images for validation (another seed, fold or data): weights would "
            "be fitted to images that one of them was trained on. Take --weights mean; or train with one --seed, or "
            "with --data NAME@1/10, which holds out the same images whatever the seed."
        )
    return max(runs, key=lambda each: each[0])[1] if runs else None


def _data(options: argparse.Namespace, members: list[Any], run: pathlib.Path | None) -> "Data":
    """What to fit to: the run's own data, or those that were named, with the run's split where they are the same."""
    from convcraft.training import data
    from convcraft.training.ensembles.ensemble import check, image_shape
    from convcraft.training.evaluate import data_of

    check(members)
    if run and not options.data:
        return data_of(run)
    height, width, channels = image_shape(members)
    size = (height, width) if height and width else options.image_size or None
    described = sources.read_json(run / "config.json") if run else {}
    seed = described["config"]["seed"] if run else options.seed
    loaded = data.load(options.data, size=size, channels=channels if channels in (1, 3) else None, seed=seed)
    if run and loaded.sha256 == described["data"]["sha256"] and options.data != described["data"]["name"]:
        raise ValueError(f"The runs were trained on {described['data']['name']}: leave --data out.")
    return loaded


def cross_validate_command(options: argparse.Namespace) -> None:
    """`convcraft cross-validate RECIPE --grid learning_rate=0.1,0.01 --folds 5`."""
    given = recipe_commands.split(options, CROSS_VALIDATE, _own)
    if given is None:
        return
    name, own, words = given
    grid = _grid(own.grid)
    if own.ensemble < 0:
        raise ValueError(f"Expected --ensemble to be 0 at least; received {own.ensemble}.")
    import_keras()
    from convcraft.training import cross_validate
    from convcraft.training.runs import save_model

    module, config = recipe_commands.loaded(name, words, CROSS_VALIDATE)
    found = cross_validate(module, grid, own.folds, config=config)
    print(f"\nAccuracy on what was held out: mean ± deviation over {own.folds} folds, and each fold's\n\n{found}")
    print(f"\n  the table     {found.directory / 'cross-validation.json'}")
    if own.ensemble:
        path = found.directory / "ensemble.keras"
        save_model(found.ensemble(min(own.ensemble, len(found.settings)), own.weights), path)
        print(f"  the model     {path}")


def _grid(words: list[str]) -> dict[str, list[str]]:
    """`learning_rate=0.1,0.01` as a dictionary."""
    grid: dict[str, list[str]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not name or not equals or not all(values.split(",")):
            raise ValueError(f"Expected --grid OPTION=VALUE,VALUE …, received {word!r}.")
        grid[name.strip("-").replace("-", "_")] = values.split(",")
    return grid


def _own(parser: argparse.ArgumentParser) -> None:
    """The options of the cross-validation, which may stand among the recipe's own."""
    parser.add_argument(
        "--grid", nargs="+", default=[], metavar="OPTION=VALUES", help="as learning_rate=0.1,0.01 width=0.5,1"
    )
    parser.add_argument("--folds", type=int, default=5, help="of the training images (%(default)s)")
    parser.add_argument(
        "--ensemble", type=int, default=0, metavar="N", help="write the models of the N best settings as one"
    )
    parser.add_argument("--weights", choices=WEIGHTS[:2], default="mean", help="of the ensemble (%(default)s)")


def ensemble_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft ensemble` takes."""
    command.add_argument("sources", metavar="SOURCE", nargs="+", help=sources.HELP)
    command.add_argument("--output", required=True, metavar="FILE", help="the new .keras file")
    command.add_argument(
        "--weights", choices=WEIGHTS, default="mean", help="of the members; fitted, stacked: to validation images"
    )
    command.add_argument("--data", help="whose validation images to fit to (default: the runs' own)")
    command.add_argument("--seed", type=int, default=0, help="of the validation split, where no source is a run")
    command.add_argument("--image-size", type=int, default=0, help="for models that take any size")
    command.add_argument("--mirrors", action="store_true", help="show each member the mirrored image, too")


def cross_validate_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft cross-validate` takes."""
    recipe_commands.arguments(command, CROSS_VALIDATE, "--grid OPTION=VALUE,VALUE [options]", "folds")
