"""One choice for the whole batch, drawn by the graph and known in advance to Python."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from .base import Tensor, checked_seed
from .draws import mix

RANGE = 2**24  # a draw is an integer below it, compared with integers: no rounding can differ between backends


class Chooser(keras.layers.Layer):
    """Base of the layers that choose, once a batch, which branches of a net are used.

    The choice is a function of the state of the layer's `SeedGenerator`, which is (seed, number of calls so far). The
    graph draws it and moves the state on; Python computes the same choice ahead of the step, so that `Model` can call
    the function that was compiled for it. As the state is a variable, it is part of a checkpoint (but of Keras's
    `.weights.h5` and `.keras` files, which leave all random states out); as it is Keras's generator and not ours, it
    is the same on every replica and worker.

    A subclass implements `odds`, and calls `choose_by` in its constructor.
    """

    def choose_by(self, seed: int | None) -> None:
        """Makes the generator that the choices come from: Keras's own, which draws alike on every replica."""
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(checked_seed(seed, type(self).__name__))
        if keras.backend.backend() == "tensorflow":  # where tf.train.Checkpoint looks; not into Keras's generators
            self._choice_state = self.seed_generator.state.value

    @property
    def odds(self) -> Sequence[float]:
        """One weight a choice."""
        raise NotImplementedError

    def _thresholds(self) -> np.ndarray:
        """int32: choice i is made for draws from the i-th value up to the next."""
        cumulated = np.cumsum([0.0, *self.odds])[:-1] / np.sum(self.odds)
        return np.round(cumulated[1:] * RANGE).astype("int32")

    def leaves_out(self, choice: int) -> bool:
        """Whether `choice` needs less than everything."""
        return True

    def _pick(self, calls: Tensor, bits: Tensor) -> Tensor:
        """The choice, int32 scalar."""
        draw = ops.bitwise_and(ops.right_shift(bits, 8), RANGE - 1)
        return ops.sum(ops.cast(draw >= ops.convert_to_tensor(self._thresholds()), "int32"))

    def _foresee(self, calls: int, bits: int) -> int:
        """The same as `_pick`, in Python."""
        return int(np.sum((bits >> 8) % RANGE >= self._thresholds()))

    def draw(self) -> tuple[Tensor, Tensor]:
        """Moves the state on: (choice, random bits of this call), two int32 scalars; for the graph."""
        seed, calls = ops.unstack(ops.cast(self.seed_generator.next(), "int32"), 2)
        bits = mix(mix(calls) + seed)
        return self._pick(calls, bits), bits

    def foresee(self, seed: int, calls: int) -> int:
        """The choice that `draw` makes in the state (`seed`, `calls`), in Python."""
        return self._foresee(calls, mix_integer(mix_integer(calls) + seed))


def mix_integer(x: int) -> int:
    """`draws.mix` of one Python integer, as an unsigned number of 32 bits."""
    x %= 2**32
    x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
    x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
    return x ^ x >> 16
