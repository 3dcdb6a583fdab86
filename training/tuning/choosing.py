"""Which policy suits the data: measured on training images that are held out, and said why."""

import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import balancing
from ..data import Data, Feed
from ..restoring import unchanged
from .frozen_features import Features, Linear, compute, held_out, logistic, support_vectors
from .policies import prepare, with_head

if TYPE_CHECKING:
    from .task import Task

HELD = 0.25  # of the training images
MOST = 4000  # images to choose on
SHARE = 3  # a trial trains for a third of the views
FEW = 8  # images of a class, below which nothing can be held out
# cheaper first: of two that do as well, the first is taken
ORDER = ("linear", "svm", "deep", "scratch")


@dataclass
class Choice:
    """A policy, and what is known from choosing it.

    Attributes:
        policy: linear, svm, top, deep or scratch.
        why: in a sentence.
        measured: policy to accuracy on the held-out images.
        linear: the classifier of frozen features, where it is solved already.
        level: the layer it is on; "" for the last.
        seconds_per_view: how long training takes an image; 0 where unknown.
    """

    policy: str
    why: str
    measured: dict[str, float] = field(default_factory=dict)
    linear: Linear | None = None
    level: str = ""
    seconds_per_view: float = 0.0


def choose(task: "Task") -> Choice:
    """Measures linear, svm and deep on held-out training images, scratch too where nothing pretrained does well.

    Whether the images are like those of the pretraining is measured as well: where they are, nothing beats the
    features of the last layer; where they are not, an earlier layer knows more, and is worth retraining.
    """
    images = task.images
    sizes = images.counts["train"]
    least = min(sizes.values())
    features = compute(task.body, _some(images, MOST), mirror=task.mirror, levels=True)
    balanced, seed = task.balanced or balancing.imbalance(images)[0] >= balancing.NOTICED, task.config.seed
    linear = logistic(features, balanced=task.balanced, seed=seed)
    if least < FEW:
        return Choice(
            "linear",
            f"only {least} images of some class: too few to train more, or to measure whether it helps",
            {},
            linear if len(features.labels) == sum(sizes.values()) else None,
        )
    machine, level = task.machine(features)
    kept, held = held_out(features.labels, HELD, seed)
    part = features.subset(kept)
    first = logistic(part, balanced=task.balanced, seed=seed)
    measured = {"linear": _score(first, features, held, "", balanced)}
    if level:
        trial = support_vectors(part, level, balanced=task.balanced, seed=seed)
        measured["svm"] = _score(trial, features, held, level, balanced)
    task.say(f"Choosing a policy on {len(held)} of {len(features.labels)} training images, held out …", flush=True)
    measured["deep"], pace = _trial(task, "deep", first, kept, held, balanced)
    promising = max(measured.values()) >= 0.75
    if not promising:  # nothing that is pretrained knows these images
        measured["scratch"], _ = _trial(task, "scratch", None, kept, held, balanced)
    slack = 0.5 / len(held)  # less than one image
    best = max(measured.values())
    policy = next(name for name in ORDER if name in measured and measured[name] >= best - slack)
    shown = ", ".join(f"{name} {100 * value:.1f} %" for name, value in measured.items())
    where = (
        f"the images are far from those of the pretraining: an earlier layer ({level}) tells them apart better than "
        f"the last, {100 * machine.accuracy:.1f} to {100 * linear.accuracy:.1f} %"
        if machine is not None and _better(machine, linear)
        else "the images are like those of the pretraining: no earlier layer tells them apart better than the last"
    )
    kind = "balanced accuracy" if balanced else "right"
    why = f"{kind} on {len(held)} held-out training images after short trials: {shown}; {where}"
    whole = len(features.labels) == sum(sizes.values())
    solved = {"svm": machine, "scratch": None}.get(policy, linear)
    return Choice(
        policy,
        why,
        measured,
        solved if whole or policy not in ("linear", "svm") else None,
        level if policy == "svm" and whole else "",
        pace if policy in ("deep", "scratch") else 0.0,
    )


def _trial(
    task: "Task", policy: str, linear: Linear | None, kept: np.ndarray, held: np.ndarray, balanced: bool
) -> tuple[float, float]:
    """(accuracy on the held-out rows after a short training on the others, seconds an image); weights are put back."""
    images, config = task.images, task.config
    images = _some(images, MOST)
    body = task.scratch() if policy == "scratch" else task.body
    sources = {"train": images.sources["train"].subset(kept), "val": images.sources["train"].subset(held)}
    counts = {split: _counted(images, sources[split].labels) for split in sources}
    trial = dataclasses.replace(images, sources=sources, counts=counts)
    shown = task.shown(trial)
    views = max(1, (config.views or config.epochs * len(kept)) // SHARE)
    epochs = max(1, min(config.epochs, round(views / len(kept))))
    rate = task.base_rate(policy)
    with unchanged(body.model):
        model = with_head(body, images.class_names, linear)
        groups = prepare(model, body, policy, rate)
        feed = shown.feed("train", auto_epoch=True)
        task.compile(model, groups, rate, epochs * feed.steps, epochs)
        dataset = feed.dataset()
        model.fit(dataset, epochs=1, initial_epoch=0, verbose=0, shuffle=False)  # compiles
        began = time.perf_counter()
        if epochs > 1:
            model.fit(dataset, epochs=epochs, initial_epoch=1, verbose=0, shuffle=False)
        pace = (time.perf_counter() - began) / max(1, (epochs - 1) * feed.steps * feed.batch_size)
        watched = Feed(sources["val"], task.config.batch_size, shuffle=False)
        logits = np.concatenate([model.predict_on_batch(x) for x, *_ in watched.numpy()])
    right = logits.argmax(axis=1) == sources["val"].labels
    return _mean(right, sources["val"].labels, balanced), pace if epochs > 1 else 0.0


def _some(images: Data, most: int) -> Data:
    """The data with at most so many training images, each class in proportion."""
    source = images.sources["train"]
    if len(source) <= most:
        return images
    _, rows = held_out(source.labels, most / len(source), 0)
    sources = {**images.sources, "train": source.subset(rows)}
    return dataclasses.replace(
        images, sources=sources, counts={**images.counts, "train": _counted(images, source.labels[rows])}
    )


def _counted(images: Data, labels: np.ndarray) -> dict[str, int]:
    numbers = np.bincount(labels, minlength=len(images.class_names)).tolist()
    return dict(zip(images.class_names, numbers, strict=True))


def _score(linear: Linear, features: Features, rows: np.ndarray, key: str, balanced: bool) -> float:
    logits = features.vectors[key][rows] @ linear.kernel + linear.bias
    return _mean(logits.argmax(axis=1) == features.labels[rows], features.labels[rows], balanced)


def _mean(right: np.ndarray, labels: Any, balanced: bool) -> float:
    if not balanced:
        return float(right.mean())
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _better(one: Linear, other: Linear) -> bool:
    """Whether one is right more often, by more than the standard error of the difference on the same images."""
    gain = one.right.astype("float64") - other.right
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))
