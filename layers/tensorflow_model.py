"""`tf.distribute` fixes for Keras 3's `fit` and `evaluate`; imported on the TensorFlow backend only."""

from typing import Any

import keras
import tensorflow as tf

from .base import Tensor

UPSTREAM = "https://github.com/keras-team/keras/issues/20585"


class TensorFlowModel(keras.Model):
    """A Keras model that trains under several workers, and evaluates padded batches exactly."""

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`, refused where the strategy would silently do nothing."""
        self._check_scope("fit")
        return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> float | list[float] | dict[str, float]:
        """As `keras.Model.evaluate`, refused where the strategy would silently do nothing."""
        self._check_scope("evaluate")
        return super().evaluate(*args, **kwargs)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Keras's step; its metrics are shaped for the reduction over workers."""
        return self._reducible(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Keras's step; rows of weight zero (padding) do not count in the loss, as in `weighted_metrics`.

        Keras divides the loss by all rows, so that a padded batch reports a wrong one.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is None:
            return self._reducible(super().test_step(data))
        y_pred = self(x, training=False)
        total = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False)
        penalty = tf.add_n(self.losses) if self.losses else 0.0
        replicas = self.distribute_strategy.num_replicas_in_sync
        # Keras divides the loss by the number of replicas, so that the gradients' sum is the global batch's.
        mean = (total - penalty / replicas) * replicas
        weights = tf.convert_to_tensor(sample_weight)
        real = tf.cast(tf.math.count_nonzero(weights), mean.dtype)
        rows = tf.cast(tf.size(weights), mean.dtype)
        self._loss_tracker.update_state(tf.math.divide_no_nan(mean * rows, real) + penalty, sample_weight=real)
        return self._reducible(self.compute_metrics(x, y, y_pred, sample_weight=sample_weight))

    def _reducible(self, metrics: dict[str, Tensor]) -> dict[str, Tensor]:
        # Over workers Keras averages every metric along axis 0, which a scalar lacks: see UPSTREAM.
        if not self._multiworker():
            return metrics
        return {name: tf.reshape(value, (1,)) for name, value in metrics.items()}

    def _multiworker(self) -> bool:
        strategies = (
            tf.distribute.MultiWorkerMirroredStrategy,
            tf.distribute.experimental.MultiWorkerMirroredStrategy,
        )
        return isinstance(self.distribute_strategy, strategies)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Keras's own reads a batch here, which it cannot reduce over workers: see UPSTREAM. A functional model is
        # built already; what is left are the optimizer's variables, which must be made inside the scope.
        if not self._multiworker():
            return super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
        optimizer = getattr(self, "optimizer", None)
        if optimizer is not None and not optimizer.built:
            with self.distribute_strategy.scope():
                optimizer.build(self.trainable_variables)
        return None

    def _check_scope(self, method: str) -> None:
        active = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
        # not the property distribute_strategy, which answers with whatever strategy is active
        if active is not None and self._distribute_strategy is not active:
            raise RuntimeError(
                f"Model.{method}: expected a model built inside the scope of {type(active).__name__}, received "
                f"{self.name!r}, built outside it: it would train on one device. "
                "Build and compile it under `with strategy.scope():`."
            )
        if keras.distribution.distribution() is not None:
            raise RuntimeError(
                f"Model.{method}: keras.distribution does nothing on the TensorFlow backend. Expected "
                "convcraft.training.distribute.strategy(), or KERAS_BACKEND=jax."
            )
