"""Which settings of a recipe are best, by runs on all folds of its training images, and their models as one.

Each run is an ordinary one, in a fresh process and a directory of its own, OUTPUT/learning_rate=0.1/fold-2, on
`--data NAME@2/5`; so an interrupted whole resumes: finished runs are left alone, the broken one goes on.
OUTPUT/cross-validation.json holds the table. Test images are in no fold, and have no say in it.
"""

import dataclasses
import os
import pathlib
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from convcraft import zoo
from convcraft.layers import Model

from .. import common, processes, rundir
from ..data.splits import fold_of
from ..evaluate import data_of, score
from . import ensemble, fusion, grids


@dataclass(frozen=True)
class Setting:
    """One configuration of the grid, and what was measured on the images that each of its runs held out.

    Attributes:
        values: of the grid's fields.
        accuracies: one a fold.
        losses: one a fold.
        runs: their directories, one a fold.
    """

    values: dict[str, Any]
    accuracies: list[float]
    losses: list[float]
    runs: list[pathlib.Path]

    @property
    def accuracy(self) -> float:
        """The mean over the folds."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """Of the accuracies, with n - 1. Folds share most of their training images: it is no interval of the mean."""
        return float(np.std(self.accuracies, ddof=1))

    @property
    def name(self) -> str:
        """The values as they are typed."""
        return ", ".join(f"{key}={value}" for key, value in self.values.items()) or "the recipe's own settings"


@dataclass(frozen=True)
class CrossValidated:
    """What a cross-validation found; `str()` is its table.

    Attributes:
        directory: of all runs.
        settings: every `Setting` of the grid, the best first: by mean accuracy, of equals by mean loss.
    """

    directory: pathlib.Path
    settings: list[Setting]

    def __str__(self) -> str:
        width = max(len(setting.name) for setting in self.settings)
        lines = []
        for setting in self.settings:
            folds = "  ".join(f"{100 * each:6.2f}" for each in setting.accuracies)
            mean = f"{100 * setting.accuracy:6.2f} ± {100 * setting.deviation:.2f} %"
            lines.append(f"{setting.name:<{width}}  {mean}   {folds}   loss {np.mean(setting.losses):.4f}")
        return "\n".join(lines)

    def models(self, top: int = 1) -> list[keras.Model]:
        """The models of the best settings, one a fold, loaded from their runs."""
        return [zoo.load_model(run / "model.keras") for setting in self._best(top) for run in setting.runs]

    def ensemble(self, top: int = 1, weights: str = "mean") -> Model:
        """The models of the best settings as one: of each, all folds', so that every training image was learned from.

        Args:
            top: how many settings.
            weights: "mean"; or "fitted": one weight for each setting, which all of its folds share, fitted to what each
                model answered to the images that it had not seen, of all folds together.

        Returns:
            An `Ensemble`.

        Raises:
            ValueError: for more settings than there are.
        """
        if weights not in ("mean", "fitted"):
            raise ValueError(f"Expected weights to be mean or fitted; received {weights!r}.")
        models = self.models(top)
        if weights == "mean":
            return ensemble.Ensemble(models)
        shares, labels = self.out_of_fold(top)
        found = fusion.convex_weights(shares, labels)
        folds = len(self.settings[0].runs)
        return ensemble.Ensemble(models, weights=np.repeat(found / folds, folds))

    def out_of_fold(self, top: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """For each training image what the model says that had not seen it, of the best settings.

        Returns:
            (probabilities, labels): float32 (settings, n, classes) and int32 (n,), fold after fold.
        """
        rows = []
        for setting in self._best(top):
            rows.append([score(zoo.load_model(run / "model.keras"), data_of(run), "val") for run in setting.runs])
        shares = np.stack([np.concatenate([shares for _, _, shares in row]) for row in rows])
        return shares, np.concatenate([labels for _, labels, _ in rows[0]])

    def _best(self, top: int) -> list[Setting]:
        if isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= len(self.settings):
            raise ValueError(f"Expected top from 1 to {len(self.settings)} settings, received {top!r}.")
        return self.settings[:top]


def cross_validate(
    recipe: str | os.PathLike[str] | types.ModuleType,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]] | None = None,
    folds: int = 5,
    output: str | os.PathLike[str] | None = None,
    *,
    config: common.Common | dict[str, Any] | None = None,
) -> CrossValidated:
    """Trains a recipe with each setting of a grid on all folds but one, for each fold, and says which setting is best.

    The training images are cut into stratified folds, the same for all settings and seeds; the test images stay apart.
    Started again with the same arguments it goes on where it was, and a larger grid adds to what is there.

    Args:
        recipe: as of `run`.
        grid: a dictionary of the recipe's options, each with a list of values, of which all combinations are tried; or
            a list of such dictionaries. None: the recipe's own settings alone.
        folds: how many, from 2 on.
        output: directory of all runs; None: runs/RECIPE-folds.
        config: as of `run`: what all runs have in common.

    Returns:
        A `CrossValidated`: its table, and the best models.

    Raises:
        ValueError: before any training, for options that the recipe has not, values that they cannot have, and an
            output that holds other runs.

    Example:
        >>> cross_validate("squeezenet_digits", {"learning_rte": [0.1]})
        Traceback (most recent call last):
        ValueError: The recipe has no option 'learning_rte'. Did you mean 'learning_rate'?

    Reference:
        Kohavi 1995, "A Study of Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection".
    """
    from ..loop import load_recipe

    module = load_recipe(recipe)
    options = module.Config(**(config or {})) if config is None or isinstance(config, dict) else config
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise ValueError(f"Expected folds to be an integer from 2 on, received {folds!r}.")
    if options.seeds != 1 or options.strategy == "multiworker" or os.environ.get("TF_CONFIG"):
        raise ValueError("Expected seeds=1 and a single worker: each fold is a run of its own. A grid may have seeds.")
    options = common.resolve(options)
    if fold_of(options.data)[1]:
        raise ValueError(f"Expected data without a fold, received {options.data!r}.")
    stem = pathlib.Path(module.__file__ or "").stem
    home = pathlib.Path(output or options.output or pathlib.Path("runs", f"{stem}-folds")).resolve()
    planned = []  # values, fold, options; all of it is looked at before the first step
    for values in grids.combinations(grid, options):
        for fold in range(1, folds + 1):
            directory = home / _folder(values) / f"fold-{fold}"
            one = dataclasses.replace(options, **values, data=f"{options.data}@{fold}/{folds}", output=str(directory))
            common.check(one)
            rundir.choose(directory, stem, one)
            planned.append((values, fold, one))
    if not all(pathlib.Path(one.output, "metrics.json").exists() for _, _, one in planned):
        _heeds_folds(module, planned[0][2])
    for number, (values, fold, one) in enumerate(planned, 1):
        done = pathlib.Path(one.output, "metrics.json").exists()
        what = f"{Setting(values, [], [], []).name}, fold {fold} of {folds}"
        print(f"\nRun {number} of {len(planned)}: {what}" + (": finished before." if done else ""), flush=True)
        if not done:
            command = f"convcraft train {stem}"
            processes.train(processes.spelled(module), dataclasses.asdict(one), command, f"The run of {what}")
    return _table(home, planned)


def _heeds_folds(module: types.ModuleType, options: common.Common) -> None:
    """Loads the recipe's data once: they must be cut where the folds say."""
    if not any("val: fold " in note for note in module.data(options).report.notes):
        raise ValueError(
            f"Expected the recipe's data(config) to load config.data, here {options.data!r}: it gives images of its "
            "own, the same for every fold. Load them by training.load(config)."
        )


def rank(setting: Setting) -> tuple[float, float]:
    """What settings are sorted by."""
    loss = float(np.mean(setting.losses))
    return -setting.accuracy, loss if np.isfinite(loss) else np.inf


def _folder(values: dict[str, Any]) -> str:
    return re.sub(r"[^\w.,=+-]+", "_", ",".join(f"{name}={value}" for name, value in values.items()))


def _table(home: pathlib.Path, planned: list[tuple[dict[str, Any], int, Any]]) -> CrossValidated:
    """What the finished runs say, also as cross-validation.json."""
    found: dict[str, Setting] = {}
    for values, _, one in planned:
        measured = rundir.read_json(pathlib.Path(one.output, "metrics.json"))["val"]
        setting = found.setdefault(_folder(values), Setting(values, [], [], []))
        setting.accuracies.append(measured["accuracy"])
        setting.losses.append(measured["loss"])
        setting.runs.append(pathlib.Path(one.output))
    ranked = sorted(found.values(), key=rank)
    rows = []
    for each in ranked:
        row = {"values": each.values, "accuracy": each.accuracy, "accuracy_std": each.deviation}
        runs = [str(run.relative_to(home)) for run in each.runs]
        rows.append({**row, "accuracies": each.accuracies, "losses": each.losses, "runs": runs})
    rundir.write_json(home / "cross-validation.json", rows)
    return CrossValidated(home, ranked)
