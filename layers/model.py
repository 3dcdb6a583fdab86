"""The one subclass of `keras.Model` that convcraft needs."""

from typing import TYPE_CHECKING, Any

import keras

from .auxiliary_classifier import auxiliary_outputs
from .base import Tensor, register
from .branches import Branches

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

    Everywhere, a batch that `FractalPath` or `FreezeDropPath` gives to some of the branches computes only those: each
    choice has a train function of its own, compiled when it is first drawn (Keras's functions mask: they compute
    everything and throw it away, with the same numbers). With `steps_per_execution` the choice is per call.

    Losses of `AuxiliaryClassifier` layers are added in training.

    A second `fit` after one that `keras.callbacks.BackupAndRestore` resumed starts at epoch 0 again
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

    _branches: Branches | None = None
    train_function: Any

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None, **kwargs: Any) -> Any:
        """As `keras.Model.call`; in training, what the batch's choice of branches needs."""
        if training and self._branches is not None and self._branches.taken is not None:
            return self._branches.call(inputs, mask)
        return super().call(inputs, training=training, mask=mask, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """As `keras.Model.compute_loss`, in training with the losses of auxiliary classifiers.

        Variables of branches that were not computed get gradients of zero.
        """
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if training and getattr(self, "_compile_loss", None) is not None:
            for weight, outputs in auxiliary_outputs(self):
                loss = loss + weight * self._compile_loss(y, outputs, sample_weight)
        if not training or self._branches is None or self._branches.taken is None:
            return loss
        return loss + keras.ops.cast(self._branches.zero(), loss.dtype)

    def make_train_function(self, force: bool = False) -> Any:
        """As `keras.Model.make_train_function`; one function for each choice of branches, where there is one."""
        if self.train_function is None or force:
            branches = Branches(self) if getattr(self, "inputs", None) else None
            self._branches = branches if branches is not None and branches.choosers else None
        if self._branches is None:
            return super().make_train_function(force)
        if self.train_function is None or force:
            compile = super().make_train_function

            def compiled() -> Any:
                dispatcher = self.train_function
                compile(force=True)
                compiled, self.train_function = self.train_function, dispatcher
                return compiled

            self.train_function = self._branches.dispatcher(compiled)
        self._branches.synchronize()
        return self.train_function

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
    if isinstance(model, keras.Sequential):  # has no `input`
        return Model(model.inputs[0], model.outputs[0], name=model.name)
    return Model(model.input, model.output, name=model.name)
