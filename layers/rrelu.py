"""Randomized leaky ReLU (Xu et al. 2015, arXiv 1505.00853)."""

from typing import Any, Self

import keras
from keras import ops

from .base import Shape, Tensor, is_number, register, seed_generator


@register
class RReLU(keras.layers.Layer):
    """Multiplies negative inputs by a random slope in training, by a fixed one at inference.

    The noise is a regularizer: meant for small data sets, and no help to a net that fits its training data badly;
    there `LeakyReLU` is the same without noise. Two conventions exist, and they are different
    distributions. This class draws the slope itself, as PyTorch and tensorflow-addons do, and its slope at inference
    is the mean, (lower + upper) / 2. The paper divides by a in U(3, 8) and at inference by 5.5, a slope of 2/11,
    which is not the mean of 1/a: `RReLU.paper(3, 8)`.

    Args:
        lower: smallest slope, at least 0. Default 1/8.
        upper: largest slope, at least `lower`. Default 1/3.
        divide: whether `lower` and `upper` bound a divisor instead (then `lower` must be positive).
        seed: integer or None.

    Call: `(inputs, training=None)`; any shape, floating dtype; the same shape and dtype out. One draw an element.

    Example:
        >>> float(RReLU()(np.array([-1.0], "float32"))[0])  # tensorflow-addons' value, too
        -0.2291666716337204

    Reference:
        Xu, Wang, Chen, Li 2015, "Empirical Evaluation of Rectified Activations", section 2.4.
    """

    def __init__(
        self,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        divide: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not (is_number(lower) and is_number(upper) and 0 <= lower <= upper) or (divide and lower == 0):
            bounds = "0 < lower <= upper (divisors)" if divide else "0 <= lower <= upper"
            raise ValueError(f"RReLU: expected {bounds}, received lower={lower!r}, upper={upper!r}.")
        self.lower = lower
        self.upper = upper
        self.divide = divide
        self.seed = seed
        self.seed_generator = seed_generator(seed, "RReLU")
        self.supports_masking = True

    @classmethod
    def paper(cls, lower: float = 3, upper: float = 8, **kwargs: Any) -> Self:
        """The paper's convention: negative inputs are divided by a in U(lower, upper)."""
        return cls(lower, upper, divide=True, **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Applies the activation; see the class."""
        if training:
            drawn = self.lower + (self.upper - self.lower) * self._unit(inputs)
        else:
            drawn = (self.lower + self.upper) / 2
        slopes = ops.cast(1 / drawn if self.divide else drawn, inputs.dtype)
        # one product, rather than a choice between two: half the work in the backward pass
        return inputs * ops.where(inputs >= 0, ops.ones((), inputs.dtype), slopes)

    def _unit(self, inputs: Tensor) -> Tensor:
        """float32 draws from [0, 1), one an element.

        Drawing is most of this layer's time on a CPU. A random integer serves two channels, 15 bits each: slopes
        then lie on a grid of 32,768 values.
        """
        shape, channels = ops.shape(inputs), inputs.shape[-1] if len(inputs.shape) else None
        if channels is None or channels % 2:
            return keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        bits = keras.random.randint((*shape[:-1], channels // 2), 0, 2**30, dtype="int32", seed=self.seed_generator)
        halves = ops.bitwise_and(bits, 2**15 - 1), ops.right_shift(bits, 15)
        return ops.concatenate([ops.cast(half, "float32") for half in halves], axis=-1) * 2.0**-15

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Same shape as the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {"lower": self.lower, "upper": self.upper, "divide": self.divide, "seed": self.seed}
        return {**super().get_config(), **config}
