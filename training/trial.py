"""What a recipe would train: its compiled model and its data, caught before the first step."""

import pathlib
import tempfile
import types
from collections.abc import Sequence

import keras

from . import common, distribute
from .data import Data
from .runs import Run
from .sizing import batch_sizes


class _Caught(Exception):
    """Ends the recipe's `train` where it would begin to fit."""


class _Trial(Run):
    def fit(self, model: keras.Model, data: Data, callbacks: Sequence[keras.callbacks.Callback] = ()) -> keras.Model:
        self._refuse(model, data, callbacks)
        self._adapt(model, data)
        self.model, self.data = model, data
        raise _Caught


def prepared(module: types.ModuleType, config: common.Common) -> tuple[keras.Model, Data]:
    """The compiled model that a recipe would train, and its data; nothing is trained, no file is left.

    Where a recipe trains several models, the first.

    Args:
        module: of a recipe; see `loop.load_recipe`.
        config: its options.

    Raises:
        ValueError: for a recipe that does not call `run.fit`, and for what the recipe itself refuses.
    """
    config = batch_sizes.settled(module, common.resolve(config), None)
    strategy = distribute.strategy(config.strategy)
    keras.utils.set_random_seed(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(folder, config, pathlib.Path(module.__file__ or "").stem, "", strategy)
        try:
            module.train(config, trial)
        except _Caught:
            assert trial.model is not None
            return trial.model, trial.data
    raise ValueError(f"{trial.recipe}: expected train(config, run) to call run.fit(model, data).")
