"""Progress: a live bar in a terminal, one line an epoch elsewhere."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from .data import Feed
from .data.streams import StreamFeed
from .optimize import learning_rate
from .report.format import duration

JUDGED = ("val_accuracy", "val_mean_iou", "val_loss", "accuracy", "loss")  # by the first that is measured


class Progress(keras.callbacks.Callback):
    """Shows how far training is: images/s, learning rate, losses, time left.

    Args:
        feed: the training data's `Feed`.
        steps: of an epoch.
        epochs: number of epochs.
        live: whether to draw a bar; None asks the terminal.
        earlier: what a resumed run had measured after each epoch, for the best so far.
    """

    clock: float | None

    def __init__(
        self,
        feed: Feed | StreamFeed,
        steps: int,
        epochs: int,
        live: bool | None = None,
        earlier: Sequence[Mapping[str, Any]] = (),
    ):
        super().__init__()
        self.feed = feed
        self.steps = steps
        self.epochs = epochs
        self.batch_size = feed.batch_size
        self.live = sys.stdout.isatty() if live is None else live
        self.bar: Any = None  # rich's
        self.announced, self.first = False, True
        self.best: tuple[str, float, int] | None = None  # of what, how good, after which epoch
        for line in earlier:
            self._is_best(line, line["epoch"])

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the bar."""
        choices = getattr(getattr(self.model, "_branches", None), "count", 1)  # of a `layers.Model` with branches
        if choices > 1:  # nothing can be told before most of them were made
            self.announced = True
            self._print(
                f"The first epoch compiles up to {choices} steps, one for each choice of branches: it takes longer."
            )
        if not self.live:
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        wraps = Column(overflow="fold")  # a narrow terminal shows all of it in two lines
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[text]}", table_column=wraps),
        )
        self.bar = Progress(*columns, console=Console(), transient=True)
        self.task = self.bar.add_task("", total=self.steps, epoch=f"1/{self.epochs}", text="compiling …")
        self.bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the epoch's clock."""
        self.epoch, self.started, self.clock = epoch, time.perf_counter(), None
        if self.bar:
            self.bar.reset(self.task, total=self.steps, epoch=f"{epoch + 1}/{self.epochs}", text=self._best_so_far())

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar; after a few steps, says how long it will take in all."""
        if self.clock is None:  # the first step starts the pipeline, or even compiles: it says nothing of the speed
            self.clock, self.clocked = time.perf_counter(), batch
            return
        elapsed, done = time.perf_counter() - self.clock, batch - self.clocked
        if not self.announced and (elapsed > 2 or done >= 10):
            self.announced = True
            left = (self.epochs - self.epoch) * self.steps * elapsed / done
            self._print(f"About {duration(left)} to go, at {done * self.batch_size / elapsed:.0f} images/s.")
        if self.bar:
            done_here = self.feed.start + batch + 1
            left = (self.epochs - self.epoch) * self.steps - done_here
            speed = done * self.batch_size / elapsed
            text = (
                f"{_numbers(logs)}  {speed:.0f} images/s  rate {learning_rate(self.model):.3g}  "
                f"{duration(left * elapsed / done)} left{self._best_so_far()}"
            )
            self.bar.update(self.task, completed=done_here, text=text)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the epoch's line."""
        seconds = time.perf_counter() - self.started
        once = (self.clock or self.started) - self.started if self.first else 0.0  # compiling comes once
        left, self.first = (self.epochs - epoch - 1) * (seconds - once), False
        speed = (self.steps - self.feed.start) * self.batch_size / seconds
        rest = f"  {duration(left)} left" if left else ""
        best = "  best so far" if self._is_best(logs or {}, epoch) else ""
        self._print(
            f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}  {_numbers(logs)}  "
            f"rate {learning_rate(self.model):.3g}  {speed:.0f} images/s{rest}{best}"
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the bar away."""
        if self.bar:
            self.bar.stop()
            self.bar = None

    def _is_best(self, logs: Mapping[str, Any], epoch: int) -> bool:
        """Whether this epoch is the best so far, by validation if there is one; remembers it."""
        key = next((key for key in JUDGED if key in logs), None)
        if key is None or not all(math.isfinite(logs[name]) for name in (key, "loss", "val_loss") if name in logs):
            return False
        better = self.best is None or (logs[key] < self.best[1] if "loss" in key else logs[key] > self.best[1])
        if better:
            self.best = (key, float(logs[key]), epoch + 1)
        return better

    def _best_so_far(self) -> str:
        if self.best is None:
            return ""
        key, value, epoch = self.best
        return f"  best {key} {value:.4f} (epoch {epoch})"

    def _print(self, text: str) -> None:
        if self.bar:
            self.bar.console.print(text, highlight=False)
        else:
            print(text, flush=True)


def _numbers(logs: Mapping[str, Any] | None) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
