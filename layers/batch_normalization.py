"""Batch normalization that synchronizes replicas where there are several."""

from typing import Any, Literal

import keras

from .base import register


@register
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization; statistics are taken over all replicas of a TensorFlow strategy.

    Keras's `synchronized=True` raises on JAX and PyTorch, so a file saved with it does not load there; without it,
    under a strategy, each replica keeps moving statistics of its own. "auto" decides where the layer runs.

    Args:
        momentum: weight of the past in the moving statistics. The default .9 (PyTorch's .1) needs tens of steps to be
            right at inference; Keras's .99 needs ten times as many.
        epsilon: added to the variance.
        synchronized: "auto", True or False.
        kwargs: as in `keras.layers.BatchNormalization`.

    Call: `(inputs, training=None, mask=None)`; the same shape and dtype out.

    Example:
        >>> BatchNormalization().synchronized  # no strategy, so there is nothing to synchronize
        False
    """

    def __init__(
        self,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        synchronized: bool | Literal["auto"] = "auto",
        **kwargs: Any,
    ):
        if synchronized not in ("auto", True, False):
            raise ValueError(
                f"BatchNormalization: expected synchronized to be 'auto', True or False, received {synchronized!r}."
            )
        self._synchronized = synchronized
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        self._synchronized = synchronized  # Keras's constructor has set the property below to its own default

    @property
    def synchronized(self) -> bool:
        """Whether this call's statistics are those of all replicas."""
        if self._synchronized != "auto":
            return self._synchronized
        if keras.backend.backend() != "tensorflow":
            return False
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync > 1

    @synchronized.setter
    def synchronized(self, value: bool | Literal["auto"]) -> None:
        self._synchronized = value

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "synchronized": self._synchronized}
