"""Which model? Those of the zoo that fit images and budget, best first, by what was measured of them."""

import math
from typing import Any

from convcraft import zoo

from ..data import load
from ..tuning.options import median_side
from . import known, widths
from .advice import Advice, Advised
from .known import Candidate, Measured, Task

SMALL, LARGE = 48, 96  # sides: nets made for 32 pixels suit images below LARGE, those made for 224 images above SMALL
BUDGETS = ("parameters", "multiply_adds", "memory", "step_seconds")


def advise(
    image_size: int,
    classes: int,
    images_per_class: float,
    *,
    channels: int = 3,
    parameters: float | None = None,
    multiply_adds: float | None = None,
    memory: float | None = None,
    step_seconds: float | None = None,
    accuracy: float | None = None,
    batch_size: int = 32,
    timed: bool = False,
    most: int = 5,
) -> Advice:
    """Ranks the models of the zoo for a task and a budget, by what was measured, and says why.

    First come models whose accuracy was measured on comparable data: images up to twice as large or half as large.
    Where there are no more images of a class than twice those that fine-tuning was measured on, these are the
    fine-tuned ones, and behind them those trained from new weights. The better come first; with `accuracy`, of those
    that reached it the cheapest. Then models whose authors, or others, have published an accuracy on such images; then
    the rest, the cheapest first. Nothing is guessed: where nothing was measured, the answer says so. An accuracy on one
    set is a hint for another, not a promise.

    Args:
        image_size: side in pixels.
        classes: number of classes.
        images_per_class: training images of a class, on average.
        channels: 3, or 1 for grey images.
        parameters: at most so many.
        multiply_adds: of one image, at most so many.
        memory: bytes that training a batch takes, at most; see `fit_width`.
        step_seconds: of a training step, at most, measured on this machine, which takes a while.
        accuracy: wanted share of right answers, as 0.9.
        batch_size: for `memory` and `step_seconds`.
        timed: whether to measure the training step of those advised.
        most: models to advise.

    Returns:
        An `Advice`: a sequence of `Advised` with `start` and `notes`.

    Raises:
        ValueError: for numbers that make no sense, and where no model is within the budget, naming the smallest.

    Example:
        >>> advice = advise(32, 10, 4500, parameters=1e6)
        >>> advice[0].model, advice[0].measured.data, advice[0].parameters
        ('resnet20_cifar', 'cifar10_jpeg', 271098)

    Reference:
        Smith & Topin 2016, arXiv 1611.00847, design pattern 1: "architectural structure follows the application".
    """
    budgets = dict(zip(BUDGETS, (parameters, multiply_adds, memory, step_seconds), strict=True))
    wanted = {name: float(value) for name, value in budgets.items() if value is not None}
    _check(image_size, classes, images_per_class, channels, batch_size, most, wanted, accuracy)
    task = Task(image_size, classes, images_per_class, channels, batch_size, accuracy)
    ranked = sorted((_judged(each, task) for each in known.candidates()), key=lambda pair: pair[0])
    rows: list[Advised] = []
    beyond: list[tuple[float, str]] = []
    for _, candidate, measured, reason in ranked:
        if len(rows) == most:
            break
        if candidate.stride > image_size:
            continue
        estimate = candidate.spent(task)
        over = _over(estimate, wanted)
        if over > 1.1:  # the estimate is that of another image size
            beyond.append((over, candidate.model))
            continue
        try:
            row = _row(candidate, task, measured, reason, timed or "step_seconds" in wanted)
        except ValueError:  # nothing is left of such images
            continue
        over = _over(vars(row), wanted)
        if over > 1:
            beyond.append((over, candidate.model))
        elif row.model not in [other.model for other in rows]:
            rows.append(row)
    if not rows:
        nearest = min(beyond, default=(0.0, ""))
        said = (
            f"the nearest, {nearest[1]}, takes {nearest[0]:.3g} times as much" if nearest[1] else "images are too small"
        )
        raise ValueError(
            f"advise: expected a budget that a model of the zoo is within; {said}. `fit_width` makes one narrower."
        )
    return Advice(rows, _start(task), _notes(task, beyond))


def _judged(candidate: Candidate, task: Task) -> tuple[tuple, Candidate, Measured | None, str]:
    """(where it ranks, itself, what was measured of it, why)."""
    cost = candidate.spent(task)["multiply_adds"]
    fine = [row for model, row in known.tuned(task) if model == candidate.model and row.weights]
    if fine and not candidate.recipe:
        best = max(fine, key=lambda row: row.accuracy)
        place = (0, *_by(task, best.accuracy, cost))
        return place, candidate, best, f"Fine-tuned from {best.weights} ({best.policy}) it reached {best}."
    trained = known.trained(task).get(f"{candidate.recipe} {candidate.options}".strip())
    if trained:
        reached = task.accuracy is None or trained.accuracy >= task.accuracy
        said = "" if reached else f", short of the {100 * (task.accuracy or 0):g} % that are wanted"
        return (
            ((1 if reached else 3), *_by(task, trained.accuracy, cost)),
            candidate,
            trained,
            f"It reached {trained}{said}.",
        )
    if candidate.recipe:  # measured on other images: nothing to prefer it for
        return (9, 0.0, cost), candidate, None, ""
    suits = task.size < LARGE if candidate.made_for <= 64 else task.size > SMALL
    share = _share(candidate.published)
    if suits and share is not None:
        rank = 2 if task.accuracy is None or share >= task.accuracy else 4
        on = "CIFAR-10" if candidate.made_for <= 64 else "ImageNet"
        why = f"Not measured on such images; published: {candidate.published}, on {on} in long trainings."
        return (rank, *_by(task, share, cost)), candidate, None, why
    if suits:
        return (
            (5, 0.0, cost),
            candidate,
            None,
            "Not measured on such images, and we know of nothing published; it fits.",
        )
    why = f"Not measured on such images; it is made for images {candidate.made_for} pixels across."
    return (6, 0.0, cost), candidate, None, why


def _by(task: Task, share: float, cost: float) -> tuple[float, float]:
    """The better first; of those that reach what is wanted, the cheaper."""
    if task.accuracy is not None and share >= task.accuracy:
        return -1.0, cost
    return -share, cost


def _share(published: str | None) -> float | None:
    """The first number of a published accuracy, as a share; of an error what is left of 1."""
    words = (published or "").replace(",", " ").split()
    value = next((float(word) / 100 for word in words if word.replace(".", "").isdigit()), None)
    if value is None:
        return None
    return 1 - value if words[0] == "error" else value


def _row(candidate: Candidate, task: Task, measured: Measured | None, reason: str, timed: bool) -> Advised:
    spent, seconds = candidate.spent(task), None
    if timed or not candidate.exact(task):
        model = candidate.build(task)
        counted = zoo.cost(model)
        memory = widths.training_memory(counted.parameters, counted.activation_bytes, task.batch_size)
        spent = {"parameters": counted.parameters, "multiply_adds": counted.multiply_adds, "memory": memory}
        seconds = widths.step_seconds(model, task.batch_size) if timed else None
    weights = zoo.info(candidate.model).weights
    command = f"zoo.create({candidate.model!r}, {task.classes}, ({task.size}, {task.size}, {task.channels}))"
    if candidate.recipe:
        command = " ".join(filter(None, ["convcraft train", candidate.recipe, "--data DATA", candidate.options]))
    elif measured:
        command = f"convcraft fine-tune {candidate.model}:{measured.weights} DATA --policy {measured.policy}"
    return Advised(
        model=candidate.model,
        parameters=round(spent["parameters"]),
        multiply_adds=round(spent["multiply_adds"]),
        memory=round(spent["memory"]),
        step_seconds=seconds,
        measured=measured,
        published=candidate.published,
        weights=weights,
        recipe=f"{candidate.recipe} {candidate.options}".strip(),
        command=command,
        reason=reason,
    )


def _over(spent: dict[str, Any], wanted: dict[str, float]) -> float:
    """By how much of the tightest budget it takes; 1 is all of it."""
    return max([spent[name] / value for name, value in wanted.items() if spent.get(name) is not None], default=0.0)


def _start(task: Task) -> str:
    """Fine-tuned or from new weights, as far as it was measured."""
    rows = known.tuned(task)
    new = [row for _, row in rows if row.policy == "scratch"]
    tuned = [(model, row) for model, row in rows if row.weights]
    if not tuned or not new:
        return (
            "Pretrained weights or new ones: not measured for such images and so many of them. "
            "`convcraft fine-tune MODEL:WEIGHTS DATA --policy auto` measures it on yours."
        )
    model, best = max(tuned, key=lambda pair: pair[1].accuracy)
    scratch = max(new, key=lambda row: row.accuracy)
    clear = "" if best.low > scratch.high else ", intervals that overlap"
    verb = "Start from pretrained weights" if best.accuracy > scratch.accuracy else "Train from new weights"
    return (
        f"{verb}: with {best.images_per_class} images a class of {best.data}, {model}:{best.weights} reached "
        f"{100 * best.accuracy:.1f} % ({100 * best.low:.1f} to {100 * best.high:.1f}), new weights "
        f"{100 * scratch.accuracy:.1f} % ({100 * scratch.low:.1f} to {100 * scratch.high:.1f}){clear}."
    )


def _notes(task: Task, beyond: list[tuple[float, str]]) -> list[str]:
    notes = []
    if beyond:
        names = list(dict.fromkeys(name for _, name in beyond))
        few = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        notes.append(f"Beyond the budget: {few}; `convcraft fit-width MODEL` finds the width that is within.")
    if task.accuracy is not None:
        notes.append("An accuracy that was reached on other images is a hint for yours, not a promise.")
    return notes


def _check(image_size, classes, images_per_class, channels, batch_size, most, wanted, accuracy) -> None:
    whole = {"image_size": (image_size, 1), "classes": (classes, 2), "batch_size": (batch_size, 1), "most": (most, 1)}
    for name, (value, least) in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"advise: expected {name} to be a whole number from {least} on; received {value!r}.")
    if channels not in (1, 3):
        raise ValueError(f"advise: expected channels to be 1 or 3; received {channels!r}.")
    for name, value in {"images_per_class": images_per_class, **wanted}.items():
        if not 0 < value < math.inf:
            raise ValueError(f"advise: expected {name} to be positive; received {value!r}.")
    if accuracy is not None and not 0 < accuracy < 1:
        raise ValueError(f"advise: expected accuracy between 0 and 1, as 0.9; received {accuracy!r}.")


def task_of(source: Any, size: int | None = None) -> dict[str, Any]:
    """What `advise` needs to know of a data set: image_size, classes, images_per_class, channels.

    Args:
        source: what `training.data.load` takes.
        size: side in pixels; None: the data's own, of a folder the middle one's, at most 224.
    """
    if size is None and (side := median_side(source)):
        size = min(224, max(32, 32 * round(side / 32)))
    loaded = load(source, size=size)
    images = sum(loaded.counts["train"].values())
    return {
        "image_size": max(loaded.image_shape[:2]),
        "classes": len(loaded.class_names),
        "images_per_class": images / len(loaded.class_names),
        "channels": loaded.image_shape[2],
    }
