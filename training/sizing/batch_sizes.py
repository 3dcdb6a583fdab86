"""The largest batch whose training step fits in memory: from a first guess on halved, before the first epoch."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import types
from typing import Any

import keras
import numpy as np

from .. import common, distribute, feeding, rundir
from ..data import Data, Feed
from ..optimize import largest_rate
from ..restoring import apart, compile_apart, same_draws, unchanged

STEPS = 2  # the first makes the optimizer's variables
EXHAUSTED = 86  # the status of a process that ran out of memory and could say so
KILLED = (-9, 137)  # that of one which the system ended, as Linux does where memory runs out
# how backends say it: TensorFlow, JAX, PyTorch's allocators, CUDA
NAMES = ("ResourceExhaustedError", "OutOfMemoryError")
WORDS = ("resource_exhausted", "out of memory", "out_of_memory", "can't allocate memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a backend's error means that memory ran out.

    Args:
        error: what was raised.

    Example:
        >>> is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4 bytes."))
        True
    """
    if isinstance(error, MemoryError) or type(error).__name__ in NAMES:
        return True
    return any(word in str(error).lower() for word in WORDS)


def fit_batch_size(model: keras.Model, data: Any, start: int = 64) -> int:
    """The largest of `start`, its half, its quarter, … whose training step fits in memory; the model stays as it was.

    The learning rate is not scaled: see `linear_scaled` and `sqrt_scaled`.

    Args:
        model: compiled.
        data: a `training.data.Data`, a pair of arrays (images, labels), or batches of them, of which the first is
            taken; repeated where there are fewer images than `start`.
        start: the largest batch size that is tried.

    Returns:
        A number of images.

    Raises:
        ValueError: for a model that is not compiled, no images, and where not even one image fits.

    Example:
        >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        >>> net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> fit_batch_size(net, (np.zeros((8, 2), "float32"), np.zeros(8, "int32")), start=32)
        32
    """
    if isinstance(start, bool) or not isinstance(start, int) or start < 1:
        raise ValueError(f"fit_batch_size: expected start to be a whole number from 1 on; received {start!r}.")
    if getattr(model, "loss", None) is None:
        raise ValueError(f"fit_batch_size: expected a compiled model with a loss; {model.name} has none: compile it.")
    x, y = _some(data)
    size = start
    with same_draws(), distribute.scope(distribute.strategy_of(model)):
        trial = apart(model)
        compile_apart(trial, model, largest_rate(model.optimizer))
        while not _trains(trial, _resized(x, size), _resized(y, size), size):
            if size == 1:
                raise ValueError(f"Not even one image fits in memory with {model.name}: take a smaller one.")
            size //= 2
    return size


def _some(data):
    """The first batch."""
    if isinstance(data, Data):
        feed = data.feed("train")
        batches = feed.numpy() if isinstance(feed, Feed) else feed.dataset().as_numpy_iterator()
        data = next(iter(batches))
    what = "fit_batch_size: "
    pair = feeding.pair(data, what)
    if pair is None:
        batch = next(iter(feeding.batches(data, what)), None)
        if batch is None:
            raise ValueError("fit_batch_size: expected images, received none: the data are empty.")
        pair = feeding.split(batch, what)
    return feeding.rows(pair, slice(0, 1024))


def _resized(arrays, size):
    """So many rows, repeated where there are fewer."""
    return keras.tree.map_structure(lambda each: np.resize(each, (size, *each.shape[1:])), arrays)


def _trains(model, x, y, size):
    try:
        with unchanged(model):  # each time: on JAX a step that fails leaves a model without weights
            for _ in range(STEPS):
                model.fit(x, y, batch_size=size, epochs=1, shuffle=False, verbose=0)
    except Exception as error:
        if is_out_of_memory(error):
            return False
        raise
    return True


def settled(module: types.ModuleType, config: common.Common, directory: str | os.PathLike[str] | None) -> common.Common:
    """The options with a number in place of `batch_size="auto"`.

    A run that has begun keeps its own. Otherwise the recipe's default is halved until a training step fits in memory.
    Each size is tried in a process of its own: neither random state nor names nor the device's memory remember it, and
    where the system ends a process that wants too much, this one lives.

    Args:
        module: the recipe.
        config: its options, resolved.
        directory: as in `training.run`.

    Raises:
        ValueError: with several workers, and where not even one image fits.
    """
    if str(config.batch_size) != common.AUTO:
        return config
    if config.strategy == "multiworker" or os.environ.get("TF_CONFIG"):
        raise ValueError("Expected a number as batch_size with several workers, received auto.")
    path = pathlib.Path(module.__file__).resolve()  # type: ignore[arg-type]  # a recipe is a file
    begun = rundir.choose(directory or config.output, path.stem, config) / "config.json"
    if begun.exists():
        return dataclasses.replace(config, batch_size=rundir.read_json(begun)["config"]["batch_size"])
    ours = module.__name__.startswith("convcraft.recipes.")
    own = type(config).batch_size
    size = common.Common.batch_size if str(own) == common.AUTO else own
    while not _fits(path.stem if ours else str(path), dataclasses.replace(config, batch_size=size)):
        if size == 1:
            raise ValueError("Not even one image fits in memory: take a smaller --image-size, or another recipe.")
        print(f"Batches of {size} images do not fit in memory.", flush=True)
        size //= 2
    print(f"Batch size {size}: its training step fits in memory. The learning rate stays as it is.", flush=True)
    return dataclasses.replace(config, batch_size=size)


def _fits(recipe: str, config: common.Common) -> bool:
    """Whether a process that takes the recipe's first steps has memory enough; what else is wrong the run will say."""
    from ..loop import child_environment

    words = [sys.executable, "-m", __name__, recipe, json.dumps(dataclasses.asdict(config))]
    done = subprocess.run(words, env=child_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode not in (EXHAUSTED, *KILLED)


def _child(recipe: str, config: str) -> None:
    from .. import loop, trial

    module = loop.load_recipe(recipe)
    model, data = trial.prepared(module, module.Config(**json.loads(config)))
    feed = data.feed("train", multiple_of=distribute.replicas(distribute.strategy_of(model)))
    model.fit(feed.dataset(), epochs=1, steps_per_epoch=min(STEPS, feed.steps), shuffle=False, verbose=0)


if __name__ == "__main__":
    from convcraft.quiet import import_keras

    import_keras()
    try:
        _child(*sys.argv[1:])
    except Exception as error:
        sys.exit(EXHAUSTED if is_out_of_memory(error) else 1)
