"""Freeze-drop-path (Smith and Topin 2016, arXiv 1611.00847, with the authors' released code)."""

import functools
import operator
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from .base import Shape, Tensor, register
from .chooser import Chooser
from .fractal_join import joined_inputs

INTERVALS = ("square", "uniform", "reverse")


@register
class FreezeDropPath(Chooser):
    """Trains one branch a batch: those before it are frozen, those after it are dropped.

    For a branch b the output is the sum of the branches 0 to b, and the gradient goes to b alone, so that each branch
    learns to correct what the shallower ones give, as in boosting. At inference it is the sum of all branches, not
    rescaled; put a normalization after it. In a `convcraft.Model` branches after b are not computed and those before
    it have no backward pass.

    It stops gradients and nothing else: weights that branches share still move, and so do momentum, weight decay and
    the moving statistics of frozen branches, as in the authors' code. To stop those as well, see `Freezable`.

    Args:
        interval: how often each branch is trained: "square", in proportion to 1, 4, 9, …, so the last and deepest most
            often; "uniform"; or "reverse", in proportion to n^2, …, 4, 1.
        mode: "random" draws the branch for each batch; "cycle" trains the branches in order, each for a share of
            `steps_per_cycle` batches in the same proportions, over and over.
        steps_per_cycle: for "cycle": number of batches.
        seed: integer or None.

    Call: `(inputs, training=None)`: a list of tensors of equal shape, **shallowest first**. The shape and dtype of one
    input out.

    Example:
        >>> x = np.ones((2, 4), "float32")
        >>> float(np.mean(FreezeDropPath()([x, 2 * x, 3 * x])))
        6.0

    Reference:
        Smith and Topin 2016, "Deep Convolutional Neural Network Design Patterns", section 4. The released code's third
        kind of interval does not run; "reverse" is what it was meant to be.
    """

    skips = True

    def __init__(
        self,
        interval: Literal["square", "uniform", "reverse"] = "square",
        mode: Literal["random", "cycle"] = "random",
        steps_per_cycle: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if interval not in INTERVALS:
            raise ValueError(
                f"FreezeDropPath: expected interval to be one of {', '.join(INTERVALS)}; received {interval!r}."
            )
        if mode not in ("random", "cycle"):
            raise ValueError(f"FreezeDropPath: expected mode to be 'random' or 'cycle', received {mode!r}.")
        whole = isinstance(steps_per_cycle, int) and not isinstance(steps_per_cycle, bool) and steps_per_cycle > 0
        if whole != (mode == "cycle") or (steps_per_cycle is not None and not whole):
            raise ValueError(
                "FreezeDropPath: expected steps_per_cycle to be a positive integer with mode='cycle' and None with "
                f"mode='random', received steps_per_cycle={steps_per_cycle!r} with mode={mode!r}."
            )
        self.interval = interval
        self.mode = mode
        self.steps_per_cycle = steps_per_cycle
        self.choose_by(seed)
        self.branches: int | None = None

    @property
    def odds(self) -> Sequence[float]:
        """One weight a branch."""
        count = self.branches or 1
        weights = {
            "square": [(i + 1) ** 2 for i in range(count)],
            "uniform": [1] * count,
            "reverse": [(count - i) ** 2 for i in range(count)],
        }
        return weights[self.interval]

    def _borders(self) -> np.ndarray:
        """int32: in "cycle", branch i is trained from the i-th step of a cycle up to the next border."""
        steps = np.cumsum([0, *self.odds])[1:-1] * float(self.steps_per_cycle or 0)
        return np.ceil(steps / sum(self.odds)).astype("int32")

    def _pick(self, calls: Tensor, bits: Tensor) -> Tensor:
        if self.steps_per_cycle is None:
            return super()._pick(calls, bits)
        step = ops.mod(calls, self.steps_per_cycle)
        return ops.sum(ops.cast(step >= ops.convert_to_tensor(self._borders()), "int32"))

    def _foresee(self, calls: int, bits: int) -> int:
        if self.steps_per_cycle is None:
            return super()._foresee(calls, bits)
        return int(np.sum(calls % self.steps_per_cycle >= self._borders()))

    def call(self, inputs: Sequence[Tensor], training: bool | None = None) -> Tensor:
        """Sums what is kept; see the class."""
        inputs = joined_inputs("FreezeDropPath", inputs)
        self.branches = len(inputs)
        if not training:
            return functools.reduce(operator.add, inputs)
        trained, _ = self.draw()
        terms = []
        for index, x in enumerate(inputs):
            passed = ops.where(trained == index, x, ops.stop_gradient(x))
            # where and not a product: what was dropped leaves no NaN behind
            terms.append(ops.where(trained >= index, passed, ops.zeros_like(x)))
        return functools.reduce(operator.add, terms)

    def branch(self, inputs: Sequence[Tensor], choice: int) -> Tensor:
        """What `call` gives for a choice, by what it needs alone."""
        return functools.reduce(operator.add, [*map(ops.stop_gradient, inputs[:choice]), inputs[choice]])

    def trained(self, inputs: Sequence[Tensor], choice: int) -> Tensor:
        """The inputs that the gradient reaches, for a choice."""
        return inputs[choice]

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """That of one input."""
        return tuple(joined_inputs("FreezeDropPath", input_shape)[0])

    def compute_output_spec(self, inputs: Sequence[Tensor], training: bool | None = None) -> keras.KerasTensor:
        """That of one input."""
        inputs = joined_inputs("FreezeDropPath", inputs)
        self.branches = len(inputs)
        return keras.KerasTensor(inputs[0].shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("interval", "mode", "steps_per_cycle", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
