"""What each way of training badly looks like in numbers. Thresholds were set on runs made wrong on purpose, with seeds
that benchmarks/diagnoses.py does not measure with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .curves import EPOCHS, Curves, flat, thirds

BURST = 2.0  # times the loss of guessing: so high it rises only where steps are too long
RISEN = 1.5  # times the least training loss
STRAIGHT = 0.5  # the last third's fall over the first third's: near 1 where steps are too short for a curve
SHORT = 5e-4  # relative change a step, of the layer that changes most in the epoch that changes most
GAP = 0.1  # of training over validation accuracy
TURNED = 1.25  # times the least validation loss
POOR = 0.5  # of the loss of guessing: above, little has been learned
NOISY = 0.5  # deviation of single batches' losses around their course, as a share of the mean
SETTLED = 0.1  # mean loss of batches below which their deviation says nothing
FEW_STEPS = 5  # an epoch
DEAD = 0.4  # share of a layer's units (Wei: up to 40 % die at high rates)
STUCK = 0.5  # share of saturated answers
FADED = 1e-3  # the early layers' gradient over the late ones'
HUGE = 10.0  # times the loss of guessing, before the first step


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        name: as "learning rate too high".
        number: what it rests on, in words.
        advice: what to do.
    """

    name: str
    number: str
    advice: str

    def __str__(self) -> str:
        """In one line."""
        return f"{self.name}: {self.number}. {self.advice}."


def findings(curves: Curves) -> list[Finding]:
    """What is wrong; what follows from something else that is wrong is left out."""
    found = [finding for rule in RULES if (finding := rule(curves))]
    found = list({finding.name: finding for finding in reversed(found)}.values())[::-1]  # one of a name: the first
    hidden = {other for finding in found for other in FOLLOWS.get(finding.name, ())}
    return [finding for finding in found if finding.name not in hidden]


def rate_too_high(curves: Curves) -> Finding | None:
    """The loss bursts, or rises, or is no number."""
    advice = "Divide the rate by 10, or find one with find_lr; clipnorm keeps single steps short"
    name = "learning rate too high"
    broken = np.flatnonzero(~np.isfinite(curves.loss))
    if len(broken):
        return Finding(name, f"the loss is no number after epoch {broken[0] + 1}", advice)
    peak = max(curves.loss.max(), curves.batches.max(initial=0.0, where=np.isfinite(curves.batches)))
    if curves.guessing and not curves.learned and peak > BURST * curves.guessing:
        said = f"the loss rose to {peak:.3g} and ended at {curves.loss[-1]:.3g}, no better than guessing"
        return Finding(name, f"{said} ({curves.guessing:.3g})", advice)
    best = curves.loss.min()
    if len(curves.loss) > 2 and curves.loss[-1] > RISEN * best and not curves.fits:
        return Finding(name, f"the training loss rose from {best:.3g} to {curves.loss[-1]:.3g}", advice)
    return None


def first_loss(curves: Curves) -> Finding | None:
    """The first batch's loss, before any step, is far above that of guessing."""
    first = float(curves.batches[0]) if len(curves.batches) else 0.0
    if not curves.guessing or first <= HUGE * curves.guessing:  # NaN: nothing is known of its size
        return None
    said = f"the loss was {first:.3g} before the first step; guessing has {curves.guessing:.3g}"
    return Finding("exploding gradients", said, "Smaller first weights (he_normal, lsuv), normalization, scaled images")


def gradients(curves: Curves) -> Finding | None:
    """Gradients of early and late layers differ by orders of magnitude."""
    if not curves.gradients.size or curves.gradients.shape[1] < 4:
        return None
    values = np.nanmedian(curves.gradients, axis=0)
    third = max(1, len(values) // 3)
    early, late = float(np.median(values[:third])), float(np.median(values[-third:]))
    if late > 0 and early < FADED * late:
        said = f"the early layers' gradients are {early / late:.1e} of the late ones'"
        advice = "Shortcuts, normalization, ReLU in place of sigmoid or tanh, other first weights (he_normal, lsuv)"
        return Finding("vanishing gradients", said, advice)
    if early > late / FADED:
        said = f"the early layers' gradients are {early / max(late, 1e-30):.1e} times the late ones'"
        return Finding("exploding gradients", said, "Normalization, smaller first weights (lsuv), clipnorm")
    return None


def dead_units(curves: Curves) -> Finding | None:
    """Units that are 0 whatever they are shown."""
    worst = max(curves.dead, key=lambda name: curves.dead[name][-1], default="")
    if not worst or curves.dead[worst][-1] <= DEAD or curves.fits:
        return None
    said = f"{100 * curves.dead[worst][-1]:.0f} % of the units of {worst} are 0 for every image of the probe"
    return Finding("dead units", said, "A smaller rate, normalization, or PReLU, leaky ReLU, ELU in place of ReLU")


def saturated_units(curves: Curves) -> Finding | None:
    """Answers where the activation is flat."""
    # from the first epoch on: units that learned to say yes or no are saturated in the end
    worst = max(curves.saturated, key=lambda name: min(curves.saturated[name]), default="")
    if not worst or min(curves.saturated[worst]) <= STUCK or curves.loss[-1] < POOR * curves.guessing:
        return None
    said = f"{100 * curves.saturated[worst][-1]:.0f} % of the answers of {worst} lie where it is flat"
    return Finding("saturated units", said, "Smaller first weights, normalization, or ReLU")


def batch_too_large(curves: Curves) -> Finding | None:
    """Few steps an epoch, and much left to fall."""
    if not (curves.steps and curves.long) or curves.steps[0] > FEW_STEPS or curves.fits:
        return None
    first, last = thirds(curves.loss)
    if first <= 0 or last < STRAIGHT * first:
        return None
    said = f"{curves.steps[0]} steps an epoch, and the loss still falls by {last:.2g} an epoch, {first:.2g} at first"
    return Finding("batch too large", said, "Take smaller batches, for more steps; or train for longer")


def rate_too_low(curves: Curves) -> Finding | None:
    """Steps so short that the curve is a straight line."""
    if not curves.long or curves.fits or curves.loss[-1] < POOR * curves.guessing:
        return None
    first, last = thirds(curves.loss)
    straight = first > 0 and last >= STRAIGHT * first
    advice = "Multiply the rate by 3 to 10, or find one with find_lr"
    said = f"the training loss falls by {last:.2g} an epoch at the end, by {first:.2g} at the beginning"
    if curves.changes.size:
        change = float(np.nanmax(curves.changes))
        if change < SHORT:
            said = f"{said}; no step changes a layer's weights by more than {change:.1e} of them"
            return Finding("learning rate too low", said, advice)
        return None
    return Finding("learning rate too low", said, advice) if straight else None


def batch_too_small(curves: Curves) -> Finding | None:
    """Single batches' losses scatter widely around their course."""
    if not curves.steps:
        return None
    last = curves.batches[curves.steps[-2] if len(curves.steps) > 1 else 0 :]
    if len(last) < 20 or not np.isfinite(last).all() or last.mean() <= SETTLED:
        return None
    course = np.convolve(last, np.ones(9) / 9, mode="same")[4:-4]
    width = float((last[4:-4] - course).std() / last.mean())
    if width < NOISY:
        return None
    said = f"single batches' losses deviate by {100 * width:.0f} % of their mean in the last epoch"
    return Finding("batch too small", said, "Take larger batches, or a smaller rate at the end")


def overfitting(curves: Curves) -> Finding | None:
    """Validation turns worse while training gets better, or lags far behind."""
    advice = "More augmentation, dropout or weight decay, a smaller network, or stop at the least validation loss"
    gap = 0.0
    if len(curves.accuracy) and len(curves.val_accuracy):
        gap = float(curves.accuracy[-1] - curves.val_accuracy[-1])
        if gap > GAP:
            said = f"training accuracy {curves.accuracy[-1]:.3f}, validation {curves.val_accuracy[-1]:.3f}"
            return Finding("overfitting", said, advice)
    if len(curves.val_loss) >= EPOCHS and np.isfinite(curves.val_loss).all():
        best = int(curves.val_loss.argmin())
        risen = curves.val_loss[-2:].min() > TURNED * curves.val_loss[best]  # in two epochs: single ones scatter
        if risen and curves.loss[-1] < curves.loss[best] and (gap > GAP / 3 or not len(curves.val_accuracy)):
            said = f"validation loss was least after epoch {best + 1}, {curves.val_loss[best]:.3g}, and is now "
            return Finding("overfitting", f"{said}{curves.val_loss[-1]:.3g}, while training loss fell", advice)
    return None


def underfitting(curves: Curves) -> Finding | None:
    """Training stands still before much has been learned."""
    if not curves.guessing or not curves.long or not flat(curves.loss) or curves.loss[-1] < POOR * curves.guessing:
        return None
    said = f"the training loss stands still at {curves.loss[-1]:.3g}; guessing has {curves.guessing:.3g}"
    return Finding("underfitting", said, "A larger network, less regularization and augmentation, another rate")


def capacity_reached(curves: Curves) -> Finding | None:
    """Training and validation stand still together, short of all images."""
    if not (curves.long and len(curves.val_loss) >= EPOCHS and flat(curves.loss) and flat(curves.val_loss)):
        return None
    if not len(curves.accuracy) or curves.fits or (curves.guessing and curves.loss[-1] >= POOR * curves.guessing):
        return None
    said = f"training accuracy stands still at {curves.accuracy[-1]:.3f}, and validation loss does, too"
    return Finding("capacity reached", said, "A wider or deeper network, or a rate that falls further at the end")


RULES: tuple[Callable[[Curves], Finding | None], ...] = (
    first_loss,
    rate_too_high,
    gradients,
    dead_units,
    saturated_units,
    batch_too_large,
    rate_too_low,
    batch_too_small,
    overfitting,
    underfitting,
    capacity_reached,
)
# a finding, and what is only its consequence
FOLLOWS = {
    "learning rate too high": ("dead units", "underfitting", "capacity reached", "batch too small", "saturated units"),
    "vanishing gradients": ("underfitting", "learning rate too low", "saturated units", "batch too large"),
    "exploding gradients": (
        "learning rate too high",
        "dead units",
        "underfitting",
        "learning rate too low",
        "batch too small",
        "batch too large",
    ),
    "dead units": ("learning rate too low", "underfitting", "capacity reached"),
    "saturated units": ("learning rate too low", "underfitting", "capacity reached"),
    "batch too large": ("learning rate too low", "underfitting", "overfitting"),  # moving statistics lag
    "learning rate too low": ("underfitting", "capacity reached"),
    "overfitting": ("capacity reached", "learning rate too low"),
}
