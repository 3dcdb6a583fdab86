"""When training accuracy says that it is time to stop: beside Keras's EarlyStopping, which watches validation."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from convcraft.layers.base import to_numpy


class _Watching(keras.callbacks.Callback):
    """Looks at a number of each epoch."""

    def __init__(self, monitor: str):
        super().__init__()
        self.monitor = monitor

    def seen(self, epoch: int, logs: Mapping[str, Any] | None) -> float:
        """The number of this epoch.

        Raises:
            ValueError: where the model does not measure it.
        """
        logs = logs or {}
        if self.monitor not in logs:
            known = ", ".join(sorted(logs)) or "nothing"
            raise ValueError(
                f"{type(self).__name__}: expected monitor to be among the numbers of epoch {epoch + 1}, {known}; "
                f"received {self.monitor!r}. Compile with metrics=['accuracy'], or name another."
            )
        return float(logs[self.monitor])

    def stop(self, epoch: int, why: str) -> None:
        """Ends training, and says why."""
        self.model.stop_training = True
        print(f"Stopped after epoch {epoch + 1}: {why}.", flush=True)


class StopAtPerfectTrainAccuracy(_Watching):
    """Stops when all training images are recognized: what follows is no longer learning, but fitting of margins.

    With augmentation and dropout the training accuracy hardly gets there, and this never stops.

    Args:
        monitor: name of the training accuracy.
        threshold: from 0 to 1, the accuracy that counts as perfect.
        patience: for how many epochs more it must stay there.

    Raises:
        ValueError: for values outside; after the first epoch, where the model does not measure `monitor`.

    Example:
        >>> StopAtPerfectTrainAccuracy(patience=2).patience
        2

    Reference:
        Notes on training CNNs (advice.csv, N03): early stopping at a training accuracy of 100 %.
    """

    def __init__(self, monitor: str = "accuracy", threshold: float = 1.0, patience: int = 0):
        super().__init__(monitor)
        if not 0 < threshold <= 1:
            raise ValueError(f"Expected threshold above 0, at most 1; received {threshold}.")
        if patience < 0:
            raise ValueError(f"Expected patience to be at least 0; received {patience}.")
        self.threshold = threshold
        self.patience = patience
        self.perfect = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Starts counting."""
        self.perfect = 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts epochs at the threshold."""
        value = self.seen(epoch, logs)
        # accuracies are means in single precision
        self.perfect = self.perfect + 1 if value >= self.threshold - 1e-6 else 0
        if self.perfect > self.patience:
            self.stop(epoch, f"{self.monitor} is {value:.4f}")


class StopAtTrainAccuracyDrop(_Watching):
    """Stops when the training accuracy falls far below what it was: training has broken down.

    A rate that rises too far does that; validation, which Keras's EarlyStopping watches, may fall for other reasons.

    Args:
        delta: how far below the best epoch's accuracy, from 0 to 1.
        monitor: name of the training accuracy.
        restore_best_weights: whether to go back to the weights after the best epoch.

    Raises:
        ValueError: for values outside; after the first epoch, where the model does not measure `monitor`.

    Example:
        >>> StopAtTrainAccuracyDrop(0.2).delta
        0.2

    Reference:
        Notes on training CNNs (advice.csv, N03): early stopping where the training accuracy drops by more than a
        threshold.
    """

    def __init__(self, delta: float = 0.1, monitor: str = "accuracy", restore_best_weights: bool = False):
        super().__init__(monitor)
        if not 0 < delta < 1:
            raise ValueError(f"Expected delta between 0 and 1; received {delta}.")
        self.delta = delta
        self.restore_best_weights = restore_best_weights
        self.best = -1.0
        self.weights: list[np.ndarray] = []  # a list of arrays is what checkpoints hold

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Forgets an earlier training."""
        self.best, self.weights = -1.0, []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Compares with the best epoch."""
        value = self.seen(epoch, logs)
        if value > self.best:
            self.best = value
            if self.restore_best_weights:
                self.weights = [to_numpy(weight).copy() for weight in self.model.weights]
        elif not value >= self.best - self.delta:  # NaN is a breakdown, too
            if self.weights:
                self.model.set_weights(self.weights)
            fell = f"fell from {self.best:.4f} to" if self.best >= 0 else "is"
            self.stop(epoch, f"{self.monitor} {fell} {value:.4f}")
