"""Drop-path, also known as stochastic depth (Huang et al. 2016, arXiv 1603.09382)."""

from typing import Any, Literal

import keras
from keras import ops

from .base import Shape, Tensor, is_number, register, seed_generator


@register
class DropPath(keras.layers.Layer):
    """Drops a residual branch at random in training, so that the shortcut carries the signal alone.

    Put it last on the branch, before the sum. What is kept is divided by 1 - rate, so that the expected sum is that of
    inference. Helps deep residual nets on long trainings; short trainings and shallow nets lose more signal than they
    gain in regularization. It masks: the branch is computed all the same. For branches whose skipping saves time see
    `FractalJoin` and `FreezeDropPath`.

    Args:
        rate: probability of dropping, 0 <= rate < 1.
        per: "sample" draws for each image, "batch" once for all of them.
        seed: integer or None.

    Call: `(inputs, training=None)`; any rank from 2, floating dtype; the same shape and dtype out.

    Example:
        >>> y = DropPath(0.5, seed=0)(np.ones((1000, 1), "float32"), training=True)
        >>> sorted(set(np.ravel(y).tolist()))
        [0.0, 2.0]

    Reference:
        Huang, Sun, Liu, Sedra, Weinberger 2016, "Deep Networks with Stochastic Depth", section 3, in the form that
        scales in training.
    """

    def __init__(self, rate: float, per: Literal["sample", "batch"] = "sample", seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not is_number(rate) or not 0 <= rate < 1:
            raise ValueError(f"DropPath: expected rate from 0 to below 1, received {rate!r}.")
        if per not in ("sample", "batch"):
            raise ValueError(f"DropPath: expected per to be 'sample' or 'batch', received {per!r}.")
        self.rate = rate
        self.per = per
        self.seed = seed
        self.seed_generator = seed_generator(seed, "DropPath")
        self.supports_masking = True

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops or scales; see the class."""
        if not training or not self.rate:
            return inputs
        count = ops.shape(inputs)[0] if self.per == "sample" else 1
        draws = keras.random.uniform((count, *[1] * (len(inputs.shape) - 1)), seed=self.seed_generator)
        # where and not a product: what was dropped leaves no NaN behind, and a gradient of zero
        return ops.where(draws < self.rate, ops.zeros_like(inputs), inputs / (1 - self.rate))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Same shape as the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "per": self.per, "seed": self.seed}
