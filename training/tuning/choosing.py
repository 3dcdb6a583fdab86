"""Which policy suits the data: measured on training images that are held out, and said why."""

import dataclasses
import time

import numpy as np

from .. import balancing, distribute
from ..data import Data, Feed
from ..report.statistics import wilson
from ..restoring import unchanged
from .choices import Choice, Trial
from .frozen_features import Features, compute
from .linear import Linear, held_out, logistic, share_right, support_vectors
from .policies import prepare, with_head
from .task import Task

HELD = 0.25  # of the training images
SOLVED = 0.98  # right on held-out images by frozen features: retraining would take most of the time, and win little
SURELY = 0.97  # the lower end of that share's 95 % interval
MOST = 4000  # images to choose on
SHARE = 3  # a trial trains for a third of the views
FEW = 8  # images of a class, below which nothing can be held out
MANY = 1000  # images from which on the late layers may be retrained alone
GENTLE = 0.2  # of the rate: what a pretrained network needs for images like those that it knows
# cheaper first: of two that do as well, the first is taken
ORDER = ("linear", "svm", "top", "deep", "scratch")


def choose(task: Task) -> Choice:
    """Measures the policies on held-out training images: scratch only where nothing pretrained does well.

    Whether the images are like those of the pretraining is measured as well. Where they are, nothing beats the features
    of the last layer, or retrains them but gently; where they are not, retraining all layers gains much, or an earlier
    layer knows more.
    """
    sizes = task.images.counts["train"]
    least, count = min(sizes.values()), sum(sizes.values())
    images = _some(task.images, MOST)
    features = compute(task.body, images, mirror=task.mirror, levels=True)
    balanced, seed = task.balanced or balancing.imbalance(task.images)[0] >= balancing.NOTICED, task.config.seed
    linear = logistic(features, balanced=task.balanced, seed=seed)
    whole = len(features.labels) == count
    if least < FEW:
        return Choice(
            "linear",
            f"only {least} images of some class: too few to train more, or to measure whether it helps",
            {},
            linear if whole else None,
        )
    machine, level = task.machine(features)
    kept, held = held_out(features.labels, HELD, seed)
    parted, part = _parted(images, kept, held), features.subset(kept)
    first = logistic(part, balanced=task.balanced, seed=seed)
    trials = [_solved("linear", first, features, held, "", balanced)]
    if level:
        known = machine.strength if machine else None
        other = support_vectors(part, level, balanced=task.balanced, seed=seed, strength=known)
        trials.append(_solved("svm", other, features, held, level, balanced))
    task.say(f"Choosing a policy on {len(held)} of {len(features.labels)} training images, held out …", flush=True)
    retrained = [] if any(map(_solves, trials)) else [("deep", GENTLE), ("deep", 1.0)]
    retrained += [("top", 1.0)] if retrained and count >= MANY else []
    for policy, rate in retrained:
        trials.append(_trained(task, policy, rate, first, parted, balanced))
    if max(trial.score for trial in trials) < 0.75:  # nothing that is pretrained knows these images
        trials.append(_trained(task, "scratch", 1.0, None, parted, balanced))
    slack = 0.5 / len(held)  # less than one image
    best = max(trial.score for trial in trials)
    trials.sort(key=lambda trial: ORDER.index(trial.policy))
    chosen = next(trial for trial in trials if trial.score >= best - slack)
    measured = {str(trial): trial.score for trial in trials}
    shown = ", ".join(f"{name} {100 * value:.1f} %" for name, value in measured.items())
    kind = "balanced accuracy" if balanced else "right"
    why = f"{kind} on {len(held)} held-out training images after short trials: {shown}; {_distance(trials, level)}"
    solved = {"svm": machine, "scratch": None}.get(chosen.policy, linear)
    frozen = chosen.policy in ("linear", "svm")
    return Choice(
        chosen.policy,
        why,
        measured,
        solved if whole or not frozen else None,
        level if chosen.policy == "svm" and whole else "",
        chosen.seconds_per_view,
        chosen.rate,
    )


def _solves(trial: Trial) -> bool:
    """Whether so little is left to gain that retraining is not tried, by enough images to say so."""
    return trial.score >= SOLVED and wilson(float(trial.right.mean()), len(trial.right))[0] >= SURELY


def _distance(trials: list[Trial], level: str) -> str:
    """How far the images are from those of the pretraining, by what had to be learned anew, in words."""
    of = {name: [trial for trial in trials if trial.policy == name] for name in ORDER}
    linear = of["linear"][0]
    tried = [trial for name in ("top", "deep", "scratch") for trial in of[name]]
    if not tried:
        return "frozen features solve it, and nothing was retrained"
    trained = max(tried, key=lambda trial: trial.score)
    shares = f"{100 * trained.right.mean():.1f} to {100 * linear.right.mean():.1f} % right"
    if trained.policy == "scratch" and _better(trained, linear):
        return f"the images are unlike those of the pretraining: new weights do better than frozen ones, {shares}"
    if _better(trained, linear):
        return f"the images are far from those of the pretraining: retrained layers beat frozen ones, {shares}"
    if of["svm"] and _better(of["svm"][0], linear):
        return f"the images are far from those of the pretraining: an earlier layer ({level}) tells them apart better"
    return "the images are like those of the pretraining: neither retrained nor earlier layers tell them apart better"


def _trained(task: Task, policy: str, rate: float, linear: Linear | None, parted: Data, balanced: bool) -> Trial:
    """A short training on the kept images, measured on the held-out ones; weights are put back."""
    config, held, count = task.config, parted.sources["val"], len(parted.sources["train"])
    body = task.scratch() if policy == "scratch" else task.body
    shown = task.shown(parted)
    views = max(1, (config.views or config.epochs * count) // SHARE)
    epochs = max(1, min(config.epochs, round(views / count)))
    base = task.base_rate(policy) * rate
    with unchanged(body.model):
        model = with_head(body, parted.class_names, linear)
        groups = prepare(model, body, policy, base)
        feed = shown.feed("train", auto_epoch=True, multiple_of=task.replicas)
        task.compile(model, groups, base, epochs * feed.steps, epochs)
        dataset = feed.dataset()
        model.fit(dataset, epochs=1, initial_epoch=0, verbose=0, shuffle=False)  # compiles
        began = time.perf_counter()
        if epochs > 1:
            model.fit(dataset, epochs=epochs, initial_epoch=1, verbose=0, shuffle=False)
        pace = (time.perf_counter() - began) / max(1, (epochs - 1) * feed.steps * feed.batch_size)
        watched = Feed(held, config.batch_size, shuffle=False)
        logits = np.concatenate([distribute.answers(model, x) for x, *_ in watched.numpy()])
    labels = np.asarray(held.labels)
    right = logits.argmax(axis=1) == labels
    return Trial(policy, share_right(right, labels, balanced), right, rate, pace if epochs > 1 else 0.0)


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


def _parted(images: Data, kept: np.ndarray, held: np.ndarray) -> Data:
    """The data of a trial: of the training images some to train on, the others as validation."""
    source = images.sources["train"]
    sources = {"train": source.subset(kept), "val": source.subset(held)}
    counts = {split: _counted(images, each.labels) for split, each in sources.items()}
    return dataclasses.replace(images, sources=sources, counts=counts)


def _counted(images: Data, labels: np.ndarray) -> dict[str, int]:
    numbers = np.bincount(labels, minlength=len(images.class_names)).tolist()
    return dict(zip(images.class_names, numbers, strict=True))


def _solved(policy: str, linear: Linear, features: Features, rows: np.ndarray, key: str, balanced: bool) -> Trial:
    """A classifier of frozen features on the held-out rows."""
    logits = features.vectors[key][rows] @ linear.kernel + linear.bias
    right = logits.argmax(axis=1) == features.labels[rows]
    return Trial(policy, share_right(right, features.labels[rows], balanced), right)


def _better(one: Trial, other: Trial) -> bool:
    """Whether one is right more often, by more than the standard error of the difference on the same images."""
    gain = one.right.astype("float64") - other.right
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))
