"""One recipe, several seeds: a run for each, and what they say together.

Every run is an ordinary one, in a fresh process and a directory of its own, OUTPUT/seed-3; so an interrupted whole
resumes: finished runs are left alone, the broken one goes on. OUTPUT itself then holds

- metrics.json: `test` (and `val`) as of one run, where a measure such as `accuracy` is the mean over the seeds, beside
  `accuracy_std` (n - 1), `accuracy_interval` (95 %, Student's t), `n` (images) and `seeds` (a list); `runs`, each
  seed's numbers; `chosen`, the seed of model.keras;
- model.keras: the model of the best validation accuracy, or where nothing was held out of the first seed. The test
  images have no say in it. So `convcraft predict OUTPUT` and `export` work; `evaluate` measures all seeds again;
- report.html and card.md of all together.
"""

import dataclasses
import os
import pathlib
import shutil
import types
from typing import Any

import numpy as np

import convcraft
from convcraft import zoo

from . import common, processes, rundir
from .report import several
from .report.format import duration
from .runs import Run

RANKS = ("accuracy", "mean_iou")  # what the best model is chosen by: the first that was measured


def directories(directory: str | os.PathLike[str]) -> dict[int, pathlib.Path]:
    """The run of each seed in a directory of several; {} for that of a single run."""
    config = rundir.read_json(pathlib.Path(directory, "config.json")).get("config", {})
    count, first = config.get("seeds", 1), config.get("seed", 0)
    return {seed: pathlib.Path(directory, f"seed-{seed}") for seed in range(first, first + count) if count > 1}


def execute(
    module: types.ModuleType, config: common.Common, directory: str | os.PathLike[str] | None, command: str
) -> Run:
    """Runs a loaded recipe with `config.seeds` seeds, `config.seed` and those that follow.

    Args:
        module: the recipe.
        config: its options, resolved.
        directory: of the whole; None as in `training.run`.
        command: what started it, without options.

    Returns:
        A `Run` of the whole: its model is the best on validation images, its metrics are those of all seeds.
    """
    from .loop import options_of

    if config.strategy == "multiworker" or os.environ.get("TF_CONFIG"):
        raise ValueError(
            f"Expected seeds=1 with several workers, received {config.seeds}: start a run for each seed, "
            "with --seed and --output."
        )
    path = pathlib.Path(module.__file__).resolve()  # type: ignore[arg-type]  # a recipe is a file
    directory = rundir.choose(directory or config.output, path.stem, config)
    config = dataclasses.replace(config, output=str(directory))
    described = {"recipe": path.stem, "convcraft": convcraft.__version__, "command": command + options_of(config)}
    rundir.write_json(directory / "config.json", {**described, "config": dataclasses.asdict(config)})
    rundir.write_atomically(directory / "recipe.py", lambda file: file.write(path.read_bytes()))
    parts = directories(directory)
    for number, (seed, part) in enumerate(parts.items(), 1):
        done = (part / "metrics.json").exists()
        print(f"\nSeed {seed}, {number} of {len(parts)}" + (": finished before." if done else ""), flush=True)
        if not done:
            _train(processes.spelled(module), directory, seed, command)
    metrics = combine(directory)
    print(f"\n{_sentence(metrics)}\n\n  the report    {directory / 'report.html'}", flush=True)
    one = Run(directory, config, path.stem, described["command"])
    one.model, one.metrics = zoo.load_model(directory / "model.keras"), metrics
    return one


def combine(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Writes what finished runs say together: metrics.json, model.keras, report.html and card.md.

    Args:
        directory: of the whole.

    Returns:
        The metrics; see the module.
    """
    from . import card, report

    directory = pathlib.Path(directory)
    parts = directories(directory)
    found = {seed: rundir.read_json(part / "metrics.json") for seed, part in parts.items()}
    first = next(iter(found.values()))
    chosen = max(found, key=lambda seed: _rank(found[seed].get("val") or {}))  # of equals the first
    seconds = [each["seconds"] for each in found.values()]
    splits = [split for split in ("test", "val") if split in first]
    metrics = {
        **{split: together({seed: each[split] for seed, each in found.items()}) for split in splits},
        "seconds": None if None in seconds else sum(seconds),
        **{key: first[key] for key in ("parameters", "multiply_adds", "data_sha256")},
        "model_sha256": found[chosen]["model_sha256"],
        "chosen": chosen,
        "runs": [
            {"seed": seed, **{split: each[split] for split in splits}, "seconds": each["seconds"]}
            for seed, each in found.items()
        ],
    }
    described = rundir.read_json(directory / "config.json")
    one = rundir.read_json(parts[chosen] / "config.json")
    rundir.write_json(directory / "config.json", {**described, "model": one["model"], "data": one["data"]})
    rundir.write_atomically(directory / "model.keras", lambda file: _copy(parts[chosen] / "model.keras", file))
    rundir.write_json(directory / "metrics.json", metrics)
    report.write(directory)
    card.write(directory)
    return metrics


def together(measured: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Mean, deviation and interval of what was measured with several seeds.

    Args:
        measured: a dictionary, seed to the metrics of a split: numbers by name, and `n`, the number of images.

    Returns:
        A dictionary: of each name the mean; with `_std` behind it the standard deviation with n - 1; with `_interval`
        [low, high], which holds the mean over all seeds there could be with a confidence of 95 %, if the values are
        normal, cut off where no loss or share can be; `n` as it is, and `seeds`.

    Example:
        >>> both = together({0: {"accuracy": 0.5, "n": 8}, 1: {"accuracy": 0.75, "n": 8}})
        >>> both["accuracy"], round(both["accuracy_std"], 4), both["seeds"]
        (0.625, 0.1768, [0, 1])
    """
    from scipy import stats  # type: ignore[import-untyped]  # scikit-learn's own foundation

    rows = list(measured.values())
    result: dict[str, Any] = {}
    for name in rows[0]:
        if name == "n" or not all(name in row for row in rows):
            continue
        values = np.array([row[name] for row in rows], "float64")
        mean, std = float(values.mean()), float(values.std(ddof=1))
        half = float(stats.t.ppf(0.975, len(values) - 1)) * std / len(values) ** 0.5
        # of two seeds that differ, Student's interval reaches beyond what a share can be
        most = 1.0 if name != "loss" and values.max() <= 1 else np.inf
        bounds = [max(mean - half, 0.0), min(mean + half, most)]
        result |= {name: mean, f"{name}_std": std, f"{name}_interval": bounds}
    return {**result, "n": rows[0]["n"], "seeds": list(measured)}


def evaluate(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Measures the model of each seed again, and combines the numbers anew."""
    from .evaluate import evaluate_run

    for part in directories(directory).values():
        before = rundir.read_json(part / "metrics.json")
        evaluate_run(part, before.get("seconds"))
    return combine(directory)


def _rank(metrics):
    return next((metrics[name] for name in RANKS if name in metrics), 0.0)


def _copy(source, file):
    with open(source, "rb") as model:
        shutil.copyfileobj(model, file)


def _sentence(metrics):
    test = metrics["test"]
    name = next(name for name in RANKS if name in test)
    said = several.plus_minus(name, test[name], test[f"{name}_std"])
    took = f" Trained in {duration(metrics['seconds'])}." if metrics["seconds"] else ""
    return f"Test {name.replace('_', ' ')} {said} (n = {len(test['seeds'])} seeds, {test['n']} images).{took}"


def _train(recipe: str, directory: pathlib.Path, seed: int, command: str) -> None:
    """One seed in a fresh process, which ends with this one."""
    whole = rundir.read_json(directory / "config.json")["config"]
    one = {**whole, "seed": seed, "seeds": 1, "output": str(directory / f"seed-{seed}")}
    processes.train(recipe, one, command, f"The run with seed {seed}")
