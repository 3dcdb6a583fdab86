"""The one subclass of `keras.Model` that convcraft needs."""

from typing import TYPE_CHECKING, Any

import keras

from .base import register

if TYPE_CHECKING or keras.backend.backend() != "tensorflow":
    from keras import Model as Base
else:
    from .tensorflow_model import TensorFlowModel as Base


@register
class Model(Base):
    """A Keras model that also trains under several workers; every zoo builder returns it.

    It behaves as `keras.Model` and is used like it: `fit`, `evaluate`, `predict`, `save`. In addition, on TensorFlow,

    - `fit`, `evaluate` and `predict` work under `tf.distribute.MultiWorkerMirroredStrategy`, which Keras 3 does not
      support by itself;
    - a model built outside the strategy's scope is refused, where Keras silently trains it on one device;
    - padding of sample weight zero does not count in the loss that `evaluate` reports;

    and everywhere a second `fit` after one that `keras.callbacks.BackupAndRestore` resumed starts at epoch 0 again
    (Keras 3.15 remembers the epoch it resumed at and may run none).

    Args:
        inputs: as in `keras.Model`, from `keras.Input`.
        outputs: as in `keras.Model`.
        name: name of the model.

    Example:
        >>> inputs = keras.Input((4,))
        >>> Model(inputs, keras.layers.Dense(2)(inputs)).output_shape
        (None, 2)
    """

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`."""
        try:
            return super().fit(*args, **kwargs)
        finally:
            self._initial_epoch = None


def as_model(model: keras.Model) -> Model:
    """Wraps a functional or sequential Keras model, sharing its layers; it must be compiled afterwards.

    Args:
        model: a built `keras.Model` with symbolic `inputs` and `outputs`.

    Returns:
        A `Model` of the same name and weights; `model` itself where it is one already.

    Raises:
        ValueError: for a subclassed model, which has no graph of layers to take over.
    """
    if isinstance(model, Model):
        return model
    if not getattr(model, "inputs", None) or not isinstance(model, keras.Model):
        raise ValueError(
            f"as_model: expected a functional or built sequential Keras model, received {type(model).__name__}. "
            "For a model class of your own, inherit from convcraft.Model."
        )
    return Model(model.input, model.output, name=model.name)
