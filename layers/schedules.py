"""Cyclical learning rates (Smith, arXiv 1506.01186) and the one-cycle policy (Smith & Topin, arXiv 1708.07120).

They stand beside the layers, and not in `training`, so that a saved model that was compiled with one can be loaded.
"""

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from .base import Tensor, register

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES = ("triangular", "triangular2", "exp_range")


class Plotted(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that can be drawn."""

    def plot(self, steps: int) -> "Figure":
        """The value at each of the first `steps` iterations, as a matplotlib figure.

        Args:
            steps: number of iterations; of many thousands, a few thousand are drawn.
        """
        from matplotlib.figure import Figure

        at = np.unique(np.linspace(0, max(1, steps) - 1, min(max(1, steps), 5000)).astype("int32"))
        figure = Figure(figsize=(6, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot(at, ops.convert_to_numpy(self(at)))
        axes.set(xlabel="iteration", ylabel="momentum" if "Momentum" in type(self).__name__ else "learning rate")
        axes.set_title(type(self).__name__)
        return figure


@register
class CyclicalLR(Plotted):
    """A learning rate that rises and falls along a line, again and again.

    Helps where no rate is known that is right from start to end: it takes the place of a search, and of decay by hand.
    Its bounds come from a test over a range of rates: the lowest that learns, and the highest that still does. A fixed
    budget of epochs is spent as well by one cycle (`OneCycle`) or by any decay to zero; and a cycle that is cut off
    near its peak leaves a worse model than its end does, so train whole cycles.

    Args:
        min_lr: at the start and the end of a cycle.
        max_lr: in the middle of the first.
        step_size: iterations of half a cycle, a whole number; the paper advises 2 to 10 times those of an epoch.
        mode: "triangular", all cycles alike; "triangular2", each half as high as the one before; "exp_range", the
            height falls as `gamma` to the power of the iterations so far (not of those within the cycle).
        gamma: of "exp_range", above 0 and at most 1; the other modes make no use of it.

    Call: `(step)`; an integer or integers, floating numbers are rounded down; float32 of the same shape. The place in
    the cycle is computed with integers, so that it is exact after any number of iterations.

    Example:
        >>> schedule = CyclicalLR(0.001, 0.006, step_size=2000)
        >>> [round(float(schedule(step)), 6) for step in (0, 1000, 2000, 3000, 4000)]
        [0.001, 0.0035, 0.006, 0.0035, 0.001]

    Reference:
        Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3; `keras_cyclical_lr` and
        tensorflow-addons' `CyclicalLearningRate` are the same formula.
    """

    def __init__(self, min_lr: float, max_lr: float, step_size: int, mode: str = "triangular", gamma: float = 1.0):
        super().__init__()
        if not (_number(min_lr) and _number(max_lr) and 0 <= min_lr <= max_lr):
            raise ValueError(
                f"CyclicalLR: expected 0 <= min_lr <= max_lr, received min_lr={min_lr!r}, max_lr={max_lr!r}."
            )
        if not _number(step_size) or step_size != int(step_size) or step_size < 1:
            raise ValueError(f"CyclicalLR: expected step_size to be a positive integer, received {step_size!r}.")
        if mode not in MODES:
            raise ValueError(f"CyclicalLR: expected mode to be one of {', '.join(MODES)}, received {mode!r}.")
        if not _number(gamma) or not 0 < gamma <= 1:
            raise ValueError(f"CyclicalLR: expected gamma above 0 and at most 1, received {gamma!r}.")
        self.min_lr = float(min_lr)
        self.max_lr = float(max_lr)
        self.step_size = int(step_size)
        self.mode = mode
        self.gamma = float(gamma)

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate at iteration `step`."""
        step = _integer(step)
        place = ops.mod(step, 2 * self.step_size)
        distance = ops.cast(ops.abs(place - self.step_size), "float32")  # from the cycle's middle
        height = (self.max_lr - self.min_lr) * (1 - distance / self.step_size)
        if self.mode == "triangular2":
            cycle = ops.cast(ops.floor_divide(step, 2 * self.step_size), "float32")
            height = height * ops.exp(cycle * -math.log(2))
        if self.mode == "exp_range":
            # gamma itself, as a float32, would be too coarse to take to a power of many thousands
            height = height * ops.exp(ops.cast(step, "float32") * math.log(self.gamma))
        return self.min_lr + height

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("min_lr", "max_lr", "step_size", "mode", "gamma")
        return {name: getattr(self, name) for name in names}


class _Phases(Plotted):
    """Values that go from one to the next, along a cosine or a line, each in its phase of the iterations."""

    anneal = "cos"

    def phases(self) -> list[tuple[float, float, float]]:
        """(iteration at its end, value at its start, value at its end) of each phase."""
        raise NotImplementedError

    def __call__(self, step: Tensor) -> Tensor:
        """The value at iteration `step`; after the last, the last."""
        step = ops.cast(_integer(step), "float32")
        value, begin = None, 0.0
        for end, first, last in self.phases():
            part = ops.clip((step - begin) / (end - begin), 0.0, 1.0) if end > begin else ops.ones_like(step)
            if self.anneal == "cos":
                here = last + (first - last) / 2 * (1 + ops.cos(math.pi * part))
            else:
                here = first + (last - first) * part
            value = here if value is None else ops.where(step <= begin, value, here)
            begin = end
        return value


def _ends(total: int, start: float, three: bool) -> list[float]:
    """The last iterations of the phases, as `torch.optim.lr_scheduler.OneCycleLR` places them."""
    ends = [start * total - 1, 2 * start * total - 2, total - 1] if three else [start * total - 1, total - 1]
    return [float(end) for end in ends]


@register
class OneCycle(_Phases):
    """One cycle of the learning rate over the whole training: up, then down to almost nothing.

    Helps where the number of epochs is known beforehand and small: the high rate in the middle allows fewer of them
    ("super-convergence"), and regularizes, so that weight decay and dropout may have to be reduced. No help where
    training goes on until validation stalls: the rate must reach its end to pay off.

    Args:
        max_lr: the largest rate.
        total_steps: iterations of the whole training, epochs times steps an epoch.
        pct_start: share of the iterations in which the rate rises.
        anneal: "cos" or "linear".
        div_factor: the rate starts at `max_lr / div_factor`.
        final_div_factor: and ends at a `final_div_factor`-th of that.
        three_phase: whether it falls as it rose, symmetrically, and only then to its end: the paper's cycle, which is
            also "linear". The default is fastai's and PyTorch's, one fall from `max_lr` to the end.

    Call: `(step)`; an integer or integers; float32 of the same shape. After `total_steps` it stays at its end, where
    PyTorch raises.

    Example:
        >>> schedule = OneCycle(max_lr=1.0, total_steps=100)
        >>> [round(float(schedule(step)), 4) for step in (0, 29, 99)]
        [0.04, 1.0, 0.0]

    Reference:
        Smith & Topin 2017, "Super-Convergence", section 3; Smith 2018, arXiv 1803.09820, section 4.2. The defaults
        are those of `torch.optim.lr_scheduler.OneCycleLR`.
    """

    def __init__(
        self,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ):
        super().__init__()
        if not _number(max_lr) or max_lr <= 0:
            raise ValueError(f"OneCycle: expected max_lr to be positive, received {max_lr!r}.")
        _check_cycle("OneCycle", total_steps, pct_start, anneal, three_phase)
        for name, value in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            if not _number(value) or value < 1:
                raise ValueError(f"OneCycle: expected {name} to be at least 1, received {value!r}.")
        self.max_lr = float(max_lr)
        self.total_steps = int(total_steps)
        self.pct_start = float(pct_start)
        self.anneal = anneal
        self.div_factor = float(div_factor)
        self.final_div_factor = float(final_div_factor)
        self.three_phase = bool(three_phase)

    def phases(self) -> list[tuple[float, float, float]]:
        """(iteration at its end, rate at its start, rate at its end) of each phase."""
        first = self.max_lr / self.div_factor
        rates = [first, self.max_lr, *([first] if self.three_phase else []), first / self.final_div_factor]
        ends = _ends(self.total_steps, self.pct_start, self.three_phase)
        return list(zip(ends, rates, rates[1:], strict=False))

    def momentum(self, low: float = 0.85, high: float = 0.95) -> "OneCycleMomentum":
        """The momentum that goes with it, for `CyclicSGD`: low where the rate is high.

        Args:
            low: where the rate is largest.
            high: at the start and the end.
        """
        return OneCycleMomentum(self.total_steps, low, high, self.pct_start, self.anneal, self.three_phase)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("max_lr", "total_steps", "pct_start", "anneal", "div_factor", "final_div_factor", "three_phase")
        return {name: getattr(self, name) for name in names}


@register
class OneCycleMomentum(_Phases):
    """The momentum of the one-cycle policy: it falls while the learning rate rises, and comes back.

    `OneCycle.momentum()` makes the one that goes with it; alone it is of little use.

    Args:
        total_steps: as in `OneCycle`, as are the others.
        low: where the rate is largest.
        high: at the start and the end.
        pct_start: share of the iterations in which the momentum falls.
        anneal: "cos" or "linear".
        three_phase: whether it is back at `high` as soon as it fell, and stays there.

    Call: `(step)`; an integer or integers; float32 of the same shape.

    Example:
        >>> schedule = OneCycleMomentum(total_steps=100)
        >>> [round(float(schedule(step)), 4) for step in (0, 29, 99)]
        [0.95, 0.85, 0.95]

    Reference:
        Smith 2018, arXiv 1803.09820, section 4.3; `torch.optim.lr_scheduler.OneCycleLR(cycle_momentum=True)`.
    """

    def __init__(
        self,
        total_steps: int,
        low: float = 0.85,
        high: float = 0.95,
        pct_start: float = 0.3,
        anneal: str = "cos",
        three_phase: bool = False,
    ):
        super().__init__()
        if not (_number(low) and _number(high) and 0 <= low <= high <= 1):
            raise ValueError(f"OneCycleMomentum: expected 0 <= low <= high <= 1, received low={low!r}, high={high!r}.")
        _check_cycle("OneCycleMomentum", total_steps, pct_start, anneal, three_phase)
        self.total_steps = int(total_steps)
        self.low = float(low)
        self.high = float(high)
        self.pct_start = float(pct_start)
        self.anneal = anneal
        self.three_phase = bool(three_phase)

    def phases(self) -> list[tuple[float, float, float]]:
        """(iteration at its end, momentum at its start, momentum at its end) of each phase."""
        values = [self.high, self.low, self.high, self.high]
        ends = _ends(self.total_steps, self.pct_start, self.three_phase)
        return list(zip(ends, values, values[1:], strict=False))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("total_steps", "low", "high", "pct_start", "anneal", "three_phase")
        return {name: getattr(self, name) for name in names}


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _check_cycle(owner: str, total_steps: Any, pct_start: Any, anneal: str, three_phase: bool) -> None:
    if not _number(total_steps) or total_steps != int(total_steps) or total_steps < 1:
        raise ValueError(f"{owner}: expected total_steps to be a positive integer, received {total_steps!r}.")
    most = 0.5 if three_phase else 1
    if not _number(pct_start) or not 0 <= pct_start <= most:
        phases = " with three_phase" if three_phase else ""
        raise ValueError(f"{owner}: expected pct_start from 0 to {most}{phases}, received {pct_start!r}.")
    if anneal not in ("cos", "linear"):
        raise ValueError(f"{owner}: expected anneal to be 'cos' or 'linear', received {anneal!r}.")


def _integer(step: Tensor) -> Tensor:
    """`step` as integers; Keras's own schedules make it a float32, which is not exact above 2**24."""
    step = ops.convert_to_tensor(step)
    return step if "int" in keras.backend.standardize_dtype(step.dtype) else ops.cast(ops.floor(step), "int32")
