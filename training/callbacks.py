"""Callbacks of a run: its history, its time limit, and what ties two calls of `fit` into one training."""

import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from . import environment
from .data import Feed
from .data.streams import StreamFeed
from .distribute import Strategy
from .optimize import learning_rate
from .rundir import read_history, write_atomically


class Phases(keras.callbacks.CallbackList):
    """One training in several calls of `fit`: callbacks see one beginning and one end.

    A run that was killed within an epoch finishes that epoch in a call of its own, since `fit` expects every epoch to
    have the same number of steps. Without this, `EarlyStopping` would restore its best weights in between.

    Attributes:
        last: to be set before the last call.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], model: keras.Model):
        super().__init__(callbacks, add_history=True, model=model)
        self.begun = self.last = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Once."""
        if not self.begun:
            super().on_train_begin(logs)
        self.begun = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Once."""
        if self.last:
            super().on_train_end(logs)

    def finish(self) -> None:
        """The beginning, if there was none, and the end, without another epoch."""
        self.last = True
        self.on_train_begin()
        self.on_train_end()


class History(keras.callbacks.Callback):
    """history.jsonl: a line for each start with its environment, then a line an epoch.

    Args:
        path: of the file.
        feed: the training data's.
        steps: of an epoch.
        strategy: the run's.
        progress: of the checkpoint that the run resumes from, or None.
        write: whether this process writes files.
    """

    def __init__(
        self,
        path: pathlib.Path,
        feed: Feed | StreamFeed,
        steps: int,
        strategy: Strategy | None = None,
        progress: dict[str, Any] | None = None,
        write: bool = True,
    ):
        super().__init__()
        self.path = path
        self.feed = feed
        self.steps = steps
        self.writes = write
        self.starts, _ = read_history(path)
        place = {key: progress[key] for key in ("epoch", "step")} if progress else None
        start = {"event": "start", "time": environment.now(), "environment": environment.describe(strategy)}
        self.starts.append({**start, "resumed_at": place})
        self.write(progress["epochs"] if progress else [])

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self.began = time.perf_counter()

    def line(self, epoch: int, logs: Mapping[str, Any]) -> dict[str, Any]:
        """The epoch's line."""
        seconds = time.perf_counter() - self.began
        images = (self.steps - self.feed.start) * self.feed.batch_size
        return {
            "event": "epoch",
            "epoch": epoch,
            "steps": self.steps,
            "learning_rate": learning_rate(self.model),
            **{name: float(value) for name, value in logs.items()},
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 1),
        }

    def write(self, epochs: Sequence[dict[str, Any]]) -> None:
        """Writes the whole file anew: it never holds a torn line, nor an epoch that a resumed run repeats."""
        if self.writes:
            lines = "".join(json.dumps(line) + "\n" for line in [*self.starts, *epochs])
            write_atomically(self.path, lambda file: file.write(lines.encode()))


class TimeLimit(keras.callbacks.Callback):
    """Stops training after the epoch in which `minutes` have passed."""

    def __init__(self, minutes: float, epochs: int):
        super().__init__()
        self.epochs = epochs
        self.end = time.monotonic() + 60 * minutes

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the clock."""
        if time.monotonic() > self.end and epoch + 1 < self.epochs:
            self.model.stop_training = True
            print(f"The time limit is reached: stopped after {epoch + 1} of {self.epochs} epochs.", flush=True)
