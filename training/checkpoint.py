"""Everything that a killed run needs to go on bit for bit, in one file that is written whole or not at all.

Keras's own files leave out what random layers have drawn (the state of `SeedGenerator`), callbacks, metrics in the
middle of an epoch and the place in the data; `BackupAndRestore` starts the epoch anew.
"""

import json
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from convcraft.layers.base import to_numpy

from .callbacks import History
from .data import Feed
from .data.streams import StreamFeed
from .rundir import write_atomically


def save(
    path: str | os.PathLike[str],
    model: keras.Model,
    progress: dict[str, Any],
    callbacks: Iterable[keras.callbacks.Callback] = (),
) -> None:
    """Writes a checkpoint: to a temporary file, flushed to disk, then renamed.

    Args:
        path: of the file.
        model: compiled, its optimizer built.
        progress: a JSON-able dictionary: where training stands.
        callbacks: whose numbers and arrays are kept, too.
    """
    arrays: dict[str, Any] = {}
    kept = []
    for group, variables in _groups(model).items():
        arrays.update({f"{group}/{n}": to_numpy(variable) for n, variable in enumerate(variables)})
    for n, callback in enumerate(callbacks):
        plain, lists = _state(callback)
        kept.append({"class": type(callback).__name__, "plain": plain, "arrays": sorted(lists)})
        arrays.update({f"callback{n}/{key}/{i}": a for key, rows in lists.items() for i, a in enumerate(rows)})
    arrays.update({f"torch/{n}": state for n, state in enumerate(_torch_states())})
    arrays["meta"] = np.frombuffer(json.dumps({**progress, "callbacks": kept}).encode(), "uint8")
    write_atomically(path, lambda file: np.savez(file, **arrays))


def load(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The checkpoint at `path`: a dictionary with `progress` and `arrays`; None where there is none."""
    if not pathlib.Path(path).exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return {"progress": json.loads(arrays.pop("meta").tobytes()), "arrays": arrays}


def restore_model(model: keras.Model, saved: dict[str, Any]) -> None:
    """Assigns all variables of the model and its optimizer, random states included.

    Raises:
        ValueError: if the checkpoint was written by another architecture or optimizer.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    for group in ("model", "optimizer"):
        _assign(_groups(model)[group], saved, group)


def restore_metrics(model: keras.Model, saved: dict[str, Any]) -> None:
    """Assigns the metrics' accumulators, which must be built."""
    _assign(_groups(model)["metrics"], saved, "metrics")


def restore_callbacks(callbacks: Iterable[keras.callbacks.Callback], saved: dict[str, Any]) -> None:
    """Gives the callbacks back their numbers and arrays, as far as class and order agree."""
    for n, (callback, kept) in enumerate(zip(callbacks, saved["progress"]["callbacks"], strict=False)):
        if type(callback).__name__ != kept["class"]:
            continue
        for key, value in kept["plain"].items():
            setattr(callback, key, value)
        for key in kept["arrays"]:
            prefix = f"callback{n}/{key}/"
            rows = {int(k[len(prefix) :]): v for k, v in saved["arrays"].items() if k.startswith(prefix)}
            setattr(callback, key, [rows[i] for i in sorted(rows)])


def _torch_states() -> list[np.ndarray]:
    """PyTorch's own random states, which Keras's dropout draws from where it has no seed; none on other backends."""
    if keras.backend.backend() != "torch":
        return []
    import torch

    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return [state.numpy() for state in (torch.get_rng_state(), *on_gpus)]


def _restore_torch(states: Sequence[np.ndarray]) -> None:
    """Gives PyTorch its random states back, as far as there are so many devices."""
    for n, state in enumerate(states[: len(_torch_states())]):
        import torch

        where = torch.cuda.set_rng_state if n else torch.set_rng_state
        where(torch.from_numpy(state), *([n - 1] if n else []))


def _groups(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """The variables by group: `model` holds weights, moving statistics and random states."""
    metrics = list(model.metrics_variables)
    ours = {id(variable) for variable in metrics}
    states = [variable for variable in model.variables if id(variable) not in ours]
    return {"model": states, "optimizer": list(model.optimizer.variables), "metrics": metrics}


def _assign(variables: list[keras.Variable], saved: dict[str, Any], group: str) -> None:
    arrays = {key: value for key, value in saved["arrays"].items() if key.startswith(f"{group}/")}
    if len(arrays) != len(variables):
        raise ValueError(
            f"The checkpoint holds {len(arrays)} variables of the {group}, this {group} has {len(variables)}: "
            "expected the recipe and options that wrote it. Choose another --output."
        )
    for n, variable in enumerate(variables):
        value = arrays[f"{group}/{n}"]
        if tuple(value.shape) != tuple(variable.shape):
            raise ValueError(
                f"The checkpoint holds shape {value.shape} for {variable.path}, which has {tuple(variable.shape)}: "
                "expected the recipe and options that wrote it. Choose another --output."
            )
        variable.assign(value)


def _state(callback: keras.callbacks.Callback) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """A callback's own attributes: plain values, and lists of arrays such as `EarlyStopping.best_weights`."""
    plain, lists = {}, {}
    for key, value in vars(callback).items():
        if key.startswith("_") or key in ("model", "params", "history"):
            continue
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            plain[key] = value
        elif isinstance(value, list) and value and all(isinstance(row, np.ndarray) for row in value):
            lists[key] = value
    return plain, lists


class Checkpoint(keras.callbacks.Callback):
    """Saves after every epoch, and within one after `minutes`; restores callbacks and metrics when training begins.

    Args:
        path: of the checkpoint file.
        feed: the training data's `Feed`, whose `epoch` it sets.
        history: the run's `History`, whose lines it keeps.
        saved: what `load` returned, or None.
        watched: callbacks whose state is kept.
        minutes: between checkpoints within an epoch.
        seconds: says how long the run has taken.
        write: whether this process writes files.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        feed: Feed | StreamFeed,
        history: History,
        saved: dict[str, Any] | None = None,
        watched: Sequence[keras.callbacks.Callback] = (),
        minutes: float = 5.0,
        seconds: Callable[[], float] = lambda: 0.0,
        write: bool = True,
    ):
        super().__init__()
        self.path = path
        self.feed = feed
        self.history = history
        self.saved = saved
        self.watched = watched
        self.minutes = minutes
        self.seconds = seconds
        self.writes = write
        self.epochs = list(saved["progress"]["epochs"]) if saved else []
        # PyTorch's, where the last epoch ended or was broken off: calls of `fit` and passes over the data draw, too
        kept = saved["arrays"] if saved else {}
        self.random = [kept[f"torch/{n}"] for n in range(len(kept)) if f"torch/{n}" in kept]
        self.broken = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restores the callbacks, which have just reset themselves."""
        if self.saved:
            restore_callbacks(self.watched, self.saved)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the epoch; where the run was killed within it, restores the metrics, which Keras has just reset."""
        self.feed.epoch = epoch
        if self.saved and self.feed.start:
            restore_metrics(self.model, self.saved)
        self.broken = bool(self.saved and self.feed.start)
        if not self.broken:
            _restore_torch(self.random)
        self.saved = None
        self.epoch, self.last = epoch, time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Within an epoch that was broken off, the random states are those of its next step."""
        if self.broken:
            _restore_torch(self.random)
        self.broken = False

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves when it has been a while; not after an epoch's last step, when `on_epoch_end` is about to."""
        step = self.feed.start + batch + 1
        if step < self.feed.steps and time.monotonic() - self.last > 60 * self.minutes:
            self._save(self.epoch, step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Saves, then writes the history: a line that is lost in between is in the checkpoint."""
        self.epochs.append(self.history.line(epoch, logs))
        self.random = _torch_states()
        self._save(epoch + 1, 0)
        self.history.write(self.epochs)

    def _save(self, epoch: int, step: int) -> None:
        self.last = time.monotonic()
        if self.writes:
            stopped = bool(self.model.stop_training) and not step
            progress = {"epoch": epoch, "step": step, "stopped": stopped, "seconds": self.seconds()}
            save(self.path, self.model, {**progress, "epochs": self.epochs}, self.watched)
