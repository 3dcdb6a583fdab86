"""What combines answers is fitted to images that none of the models was trained on: weights, or a second level."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from convcraft.layers import Model

from .. import distribute, requirements
from ..data import Data, Feed
from ..requirements import loaded
from ..restoring import same_draws
from ..tuning.frozen_features import Features
from ..tuning.linear import Linear, logistic
from . import ensemble

FLOOR = 1e-4  # a probability below says no more to the second level than this
LEAST = 1e-3  # a smaller weight costs a member's time and changes nothing


def fit_weights(members: Sequence[keras.Model], data: Data, *, mirrors: bool = False) -> np.ndarray:
    """The weights with which the members of an `Ensemble` answer best on validation images.

    They minimize the crossentropy of the mean probability, a convex problem. On the images that they are fitted to,
    they are never worse than equal weights, nor than the best member alone; elsewhere they may be, the more so the
    more members there are and the fewer images.

    Args:
        members: as of `Ensemble`.
        data: a `training.data.Data` whose validation images none of the members was trained on: of runs with several
            seeds, each cut off images of its own. `data="digits@1/10"` holds the same out whatever the seed.
        mirrors: as of `Ensemble`.

    Returns:
        A NumPy array, float64, one weight for each member: from 0 on, with a sum of 1; many may be exactly 0.

    Raises:
        ValueError: for data without validation images, and for members that do not fit them or each other.

    Example:
        >>> from convcraft.training import data
        >>> digits = data.load("digits", size=8)
        >>> nets = [keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])]
        >>> fit_weights(nets, digits)
        array([1.])

    Reference:
        van der Laan, Polley, Hubbard 2007, "Super Learner", of which these are the convex weights.
    """
    required(data, "val", "fit_weights")
    shares, labels = predictions(members, data, "val", mirrors)
    return convex_weights(shares, labels)


@same_draws()
def stack(members: Sequence[keras.Model], data: Data, *, name: str = "stack") -> Model:
    """One model in which a second level, a logistic regression, learns from validation images whom to believe in what.

    It sees the logarithms of all members' probabilities, so it can trust a member with some classes only, and correct
    what a member takes for another; it has classes² × members weights to learn, and needs images for that. How strongly
    they are held back is chosen by cross-validation of the validation images.

    Args:
        members: as of `Ensemble`.
        data: as of `fit_weights`.
        name: of the model.

    Returns:
        A `convcraft.Model`: raw images in, logits out.

    Raises:
        ValueError: as `fit_weights`, and where validation has no images of some class.

    Example:
        >>> from convcraft.training import data
        >>> digits = data.load("digits", size=8)
        >>> nets = [keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])]
        >>> stack(nets, digits).output_shape
        (None, 10)

    Reference:
        Wolpert 1992, "Stacked Generalization".
    """
    required(data, "val", "stack")
    members = ensemble.listed(members)
    shares, labels = predictions(members, data, "val")
    missing = sorted(set(range(len(data.class_names))) - set(labels.tolist()))
    if missing:
        names = ", ".join(data.class_names[number] for number in missing[:10])
        raise ValueError(f"Expected validation images of every class, to learn from; there are none of {names}.")
    seen = np.concatenate(list(np.log(np.maximum(shares, FLOOR))), axis=1).astype("float32")
    linear = logistic(Features({"": seen}, {}, labels), seed=data.seed)
    images = keras.Input(ensemble.image_shape(members), name="images")
    parts = [ensemble.probabilities(member, images, f"member{n}") for n, member in enumerate(members, 1)]
    logarithms = [keras.ops.log(keras.ops.maximum(part, FLOOR)) for part in parts]
    return headed(images, logarithms, linear, ensemble.zoo.class_names(members[0]), name)


def predictions(
    members: Sequence[keras.Model], data: Data, split: str, mirrors: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """What members answer to a split: probabilities, float32 (members, n, classes), and labels, int32 (n,)."""
    members = ensemble.listed(members)
    if ensemble.check(members) != "softmax":
        raise ValueError(
            "Expected members that give each image one class; of independent labels, Ensemble takes means."
        )
    images = keras.Input(ensemble.image_shape(members), name="images")
    shares = [ensemble.probabilities(each, images, f"member{n}", mirrors) for n, each in enumerate(members, 1)]
    # a list of one output would come back as no list
    model = keras.Model(images, {str(number): share for number, share in enumerate(shares)})
    whole = ensemble.Ensemble(members)
    whole.compile()
    requirements.fits(whole, data)
    parts, labels = [], []
    for pictures, given in _batches(data, split):
        answers = distribute.answers(model, pictures)
        parts.append(np.stack([answers[str(number)] for number in range(len(members))]))
        labels.append(given)
    found = np.concatenate(parts, axis=1)
    for number, (member, share) in enumerate(zip(members, found, strict=True), 1):
        finite(share, f"probabilities of member {number} ({member.name})")
    return found, np.concatenate(labels).astype("int32")


def convex_weights(shares: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights from 0 on with a sum of 1 that minimize the crossentropy of the weighted mean probability.

    Args:
        shares: probabilities, (members, n, classes).
        labels: integers (n,).

    Returns:
        float64 (members,).

    Example:
        >>> sure, unsure = np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])
        >>> convex_weights(np.stack([sure, unsure]), np.array([0]))
        array([1., 0.])
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]  # scikit-learn's own foundation

    true = np.maximum(shares[:, np.arange(len(labels)), labels].astype("float64"), ensemble.TINY)
    count = len(true)
    finite(true, "probabilities")

    def loss(weights):
        mean = np.maximum(weights @ true, ensemble.TINY)
        return -np.log(mean).mean(), -(true / mean).mean(axis=1)

    equal = np.full(count, 1 / count)
    whole = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(count)}
    found = minimize(
        loss, equal, jac=True, method="SLSQP", bounds=[(0, 1)] * count, constraints=[whole], options={"maxiter": 500}
    )
    exact = np.clip(found.x, 0, None) if np.isfinite(found.x).all() else equal
    candidates = [equal, *np.eye(count), exact / exact.sum()]
    losses = [loss(weights)[0] for weights in candidates]
    few = np.where(exact < LEAST * exact.sum(), 0, exact)
    few /= few.sum()
    if loss(few)[0] <= min(*losses[:-1], losses[-1] + LEAST):
        return few
    return candidates[int(np.argmin(losses))]


def required(data: Data, split: str, what: str) -> None:
    """Refuses data without images to fit to.

    Raises:
        ValueError: saying what there is.
    """
    if split not in ("train", "val"):
        raise ValueError(f"Expected split to be train or val, for the test is no place to fit; received {split!r}.")
    if split not in loaded(data, what).counts:
        raise ValueError(
            f"Expected data with {'validation' if split == 'val' else 'training'} images to fit to, received splits "
            f"{', '.join(data.counts)}: load them with validation=0.1, or give them apart."
        )
    if split == "val" and data.streams and data.streams.get("test") is data.streams["val"]:
        raise ValueError("Expected a test set apart from validation, received one that serves as both: give three.")


def finite(values: np.ndarray, what: str) -> None:
    """Refuses what a diverged network answers."""
    if not np.isfinite(values).all():
        raise ValueError(f"Expected {what} that are numbers: training has diverged.")


def _batches(data: Data, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    feed = data.feed(split, **({} if data.streams else {"shuffle": False, "mix": None}))
    for images, labels, *_ in feed.numpy() if isinstance(feed, Feed) else feed.dataset().as_numpy_iterator():
        yield images, labels


def headed(images: Any, seen: list[Any], linear: Linear, names: Any, name: str) -> Model:
    """A model whose last layer is a linear classifier that was fitted elsewhere."""
    x = seen[0] if len(seen) == 1 else keras.layers.Concatenate(dtype="float32")(seen)
    head = keras.layers.Dense(len(linear.bias), dtype="float32", name="head")
    logits = head(x)
    head.set_weights([linear.kernel, linear.bias])
    return Model(images, ensemble.named(logits, names), name=name)
