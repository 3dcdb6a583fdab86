"""Linear classifiers of frozen features, fitted by scikit-learn and chosen by cross-validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .frozen_features import Features

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 1.0)  # C: the smaller, the stronger the regularization
MARGIN_STRENGTHS = (0.0001, 0.001, 0.01)  # of support vector machines, whose loss is of another scale
# how much more than a feature the pretrained classifier's answers may weigh, and with which C
PULL, LEANING = 100.0, (0.001, 0.01)
FOLDS = 4
SEARCHED = 3000  # images on which strengths are compared; more would take minutes and change nothing
VALUES, LEAST = 1_000_000, 500  # of the tiles of earlier layers, which are long: so many numbers, or images
SOFTENINGS = np.geomspace(0.1, 10, 41)
THREADED = 4_000_000  # numbers in a matrix that several threads may work on


def threads(numbers: int) -> Any:
    """The context to fit a classifier in: over small matrices, threads wait for each other most of the time."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn's own foundation

    return threadpool_limits(1 if numbers < THREADED else None)


@dataclass(frozen=True)
class Linear:
    """A linear classifier of features, and how well it does on images that it was not fitted to.

    Attributes:
        kernel: float32 (features, classes).
        bias: float32 (classes,).
        accuracy: mean over the folds of a cross-validation of the training images; NaN where a class has one image.
        right: for each training image of the cross-validation, whether it was recognized when held out.
        strength: scikit-learn's C, chosen by that.
        outputs: of the pretrained classifier, those that it leans on; none where that did not help.
    """

    kernel: np.ndarray
    bias: np.ndarray
    accuracy: float
    right: np.ndarray
    strength: float
    outputs: tuple[int, ...] = ()


def logistic(features: Features, key: str = "", *, balanced: bool = False, seed: int = 0) -> Linear:
    """Logistic regression, its strength chosen by cross-validation.

    Where the pretrained classifier already has outputs for such things, as ImageNet's have ants and bees, it is begun
    from: the regression may lean on one output for each class, whichever answers for that class most of all, if
    cross-validation finds that it helps. They are found by what they say of the images; names play no part.

    Args:
        features: of the training images.
        key: which of them.
        balanced: whether all classes shall count alike.
        seed: of the folds.
    """
    from sklearn.linear_model import LogisticRegression

    def make(strength):
        return LogisticRegression(C=strength, max_iter=300, class_weight="balanced" if balanced else None)

    tries = [(strength, 0.0) for strength in STRENGTHS]
    if features.answers is not None and not key:
        tries += [(strength, PULL) for strength in LEANING]
    return _fitted(features, key, make, tries, balanced, seed)


def support_vectors(
    features: Features, key: str = "", *, balanced: bool = False, seed: int = 0, strength: float | None = None
) -> Linear:
    """A linear support vector machine; see `logistic`. Its margins are scaled to serve as logits.

    Args:
        features: see `logistic`, as all but the last.
        key: see there.
        balanced: see there.
        seed: see there.
        strength: where it is known already.
    """
    from sklearn.svm import LinearSVC

    def make(strength):
        weights = "balanced" if balanced else None
        return LinearSVC(C=strength, class_weight=weights, dual="auto", random_state=seed, max_iter=2000)

    strengths = MARGIN_STRENGTHS if strength is None else (strength,)
    return _fitted(features, key, make, [(each, 0.0) for each in strengths], balanced, seed)


def searched(features: Features, key: str, seed: int = 0) -> Features:
    """The images on which strengths are compared: all, or of many some at random, each class in proportion."""
    limit = min(SEARCHED, max(LEAST, VALUES // features.vectors[key].shape[1])) if key else SEARCHED
    if len(features.labels) <= limit:
        return features
    _, chosen = held_out(features.labels, limit / len(features.labels), seed)
    return features.subset(chosen)


def _fitted(
    features: Features,
    key: str,
    make: Any,
    tries: Sequence[tuple[float, float]],
    balanced: bool,
    seed: int,
) -> Linear:
    """The classifier of the strength and the pull that do best in a cross-validation, fitted to all."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold

    classes, some = int(features.labels.max()) + 1, searched(features, key, seed)
    labels, rows = some.labels, np.arange(len(some.labels))
    folds = min(FOLDS, int(np.bincount(labels, minlength=classes).min()))
    best: tuple[Any, ...] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a solution that is nearly there serves as well
        splits: list[tuple[np.ndarray, np.ndarray]] = []
        if folds > 1:
            splits = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels))
        tries = tries if folds > 1 else [(0.01, 0.0)]
        leans = any(pull for _, pull in tries)
        shares: Any = _shares(some) if leans else None
        chosen = [answering(shares[train], labels[train]) if leans else () for train, _ in splits]
        for strength, pull in tries:
            logits = np.zeros((len(rows), classes))
            for (train, held), outputs in zip(splits, chosen, strict=True):
                kernel, bias = _solve(some, key, train, make(strength), classes, pull, outputs)
                logits[held] = some.vectors[key][held] @ kernel + bias
            right = logits.argmax(axis=1) == labels
            # by the loss, of which a few hundred images tell more than of the share that is right
            softening, loss = _softened(logits, labels)
            if best is None or loss < best[0]:
                best = loss, strength, right, softening, pull
        assert best is not None
        _, strength, right, softening, pull = best
        outputs = answering(shares, labels) if pull else ()
        score = share_right(right, labels, balanced) if folds > 1 else float("nan")
        everything = np.arange(len(features.labels))
        kernel, bias = _solve(features, key, everything, make(strength), classes, pull, outputs)
    kernel, bias = ((softening * each).astype("float32") for each in (kernel, bias))
    return Linear(kernel, bias, float(score), right, strength, outputs)


def _shares(features: Features) -> np.ndarray:
    """What the pretrained classifier says of each image, mirrored or not: shares of its classes."""
    assert features.answers is not None
    from scipy.special import softmax  # type: ignore[import-untyped]

    kernel, bias = features.answers
    shares = [softmax(each[""] @ kernel + bias, axis=1) for each in (features.vectors, features.mirrored) if each]
    return np.mean(shares, axis=0)


def answering(shares: np.ndarray, labels: np.ndarray) -> tuple[int, ...]:
    """For each class the output that answers for its images more than for others', without repetitions.

    Args:
        shares: (n, outputs), probabilities.
        labels: (n,), of the classes.

    Example:
        >>> answering(np.array([[0.7, 0.1, 0.2], [0.2, 0.6, 0.2], [0.6, 0.2, 0.2]]), np.array([1, 0, 1]))
        (1, 0)
    """
    chosen = []
    for label in np.unique(labels):
        those = labels == label
        others = shares[~those].mean(axis=0) if not those.all() else 0.0
        chosen.append(int((shares[those].mean(axis=0) - others).argmax()))
    return tuple(dict.fromkeys(chosen))


def _solve(
    features: Features,
    key: str,
    rows: np.ndarray,
    model: Any,
    classes: int,
    pull: float = 0.0,
    outputs: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias on plain features, of a classifier fitted to standardized ones; where there is a pull, also to
    the answers of these outputs, so many times as large."""
    x, y = features.vectors[key][rows], features.labels[rows]
    if key in features.mirrored:
        x, y = np.concatenate([x, features.mirrored[key][rows]]), np.concatenate([y, y])
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-6, scale, np.inf)  # what never changes tells nothing
    standard = (x - mean) / scale
    if pull:  # to be regularized less, they are made larger
        assert features.answers is not None
        answers = features.answers[0][:, list(outputs)]
        spread = (x @ answers).std(axis=0)
        answers = answers * (pull / np.where(spread > 1e-6, spread, np.inf))
        standard = np.concatenate([standard, (x - mean) @ answers], axis=1)
    with threads(x.size):
        model.fit(standard, y)
    kernel, bias = model.coef_.T.astype("float64"), model.intercept_.astype("float64")
    if kernel.shape[1] == 1:  # of two classes scikit-learn has the difference
        kernel, bias = np.concatenate([-kernel / 2, kernel / 2], axis=1), np.array([-bias[0] / 2, bias[0] / 2])
    plain, leaning = np.split(kernel, [len(scale)])
    kernel = plain / scale[:, None]
    if pull:  # what leans on an answer leans on the features that it is made of
        kernel = kernel + answers @ leaning
    full, offsets = np.zeros((len(kernel), classes)), np.full(classes, -30.0)  # a class without images here
    full[:, model.classes_], offsets[model.classes_] = kernel, bias - mean @ kernel
    return full, offsets


def _softened(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The factor with which held-out logits are the most honest probabilities, and their crossentropy then."""
    losses = []
    for factor in SOFTENINGS:
        scaled = factor * logits
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        losses.append((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]).mean())
    best = int(np.argmin(losses))
    return (float(SOFTENINGS[best]) if np.any(logits) else 1.0), float(losses[best])


def share_right(right: np.ndarray, labels: np.ndarray, balanced: bool) -> float:
    """The share of images that are recognized; balanced, the mean of the classes' shares."""
    if not balanced:
        return float(right.mean())
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def held_out(labels: Sequence[int] | np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows to measure on, each class in proportion."""
    from ..data.splits import stratified

    labels = np.asarray(labels)
    return stratified(labels, max(1, round(share * len(labels))), seed)
