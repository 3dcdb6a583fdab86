"""Judges of labels: what each image is taken for by classifiers that were fitted without it."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data import Data, Source, load
from ..data.images import resize, to_channels

MODEL = "squeezenet1_1:tinyimagenet80"  # comes with the package
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)  # scikit-learn's C, the quickest to fit first
SEARCHED = 3000  # images on which they are compared


def loaded(given: Any, model: Any) -> Data:
    """The data; files at a size that suits the model."""
    from ..tuning.options import median_side, suggest_size

    size = None
    if isinstance(given, str | os.PathLike) and (median_side(given) or str(given).lower().endswith(".csv")):
        size = suggest_size(str(model), given) if isinstance(model, str | os.PathLike) else _shape(model, 224)[:2]
    return load(given, size=size, validation=0)


def features_of(model: Any, images: Data, sources: Mapping[str, Source]) -> np.ndarray:
    """What a pretrained network sees in each image, float32 (n, features)."""
    from ..tuning import bodies, frozen_features

    shape = _shape(model, min(images.image_shape[:2]))
    body = bodies.find(str(model) if isinstance(model, os.PathLike) else model, shape)
    views: dict[str, Source] = {split: _View(each, shape) for split, each in sources.items()}
    viewed = dataclasses.replace(
        images, sources=views, image_shape=shape, streams={}, counts={split: {} for split in views}, mix=None
    )
    parts = []
    for split in views:
        rows = dataclasses.replace(viewed, sources={"judged": views[split]}, counts={"judged": {}})
        parts.append(frozen_features.compute(body, rows, split="judged", mirror=False).vectors[""])
    return np.concatenate(parts)


def out_of_sample(features: np.ndarray, labels: np.ndarray, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Probabilities of each class for each image, by a logistic regression that was fitted without the image.

    Args:
        features: float (n, features).
        labels: int (n,), from 0 without gaps, at least two of each.
        folds: at most.
        seed: of the folds.

    Returns:
        float64 (n, classes).
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ..tuning.linear import threads

    def predicted(rows, strength):
        least = int(np.bincount(labels[rows]).min())
        parts = StratifiedKFold(max(2, min(folds, least)), shuffle=True, random_state=seed)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-3, max_iter=300))
        with threads(len(rows) * features.shape[1]):
            return cross_val_predict(model, features[rows], labels[rows], cv=parts, method="predict_proba")

    rows = np.arange(len(labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a solution that is nearly there serves as well
        some = rows if len(rows) <= SEARCHED else _some(labels, seed)
        least, best, found = np.inf, STRENGTHS[0], np.zeros(0)
        for strength in STRENGTHS:  # until it fits the wrong labels, too
            tried = predicted(some, strength)
            loss = log_loss(labels[some], tried)
            if loss > least:
                break
            least, best, found = loss, strength, tried
        return found if some is rows else predicted(rows, best)


def _some(labels: np.ndarray, seed: int) -> np.ndarray:
    """Rows of about `SEARCHED` images, at least two of each class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    firsts = np.concatenate([order[labels[order] == label][:2] for label in np.unique(labels)])
    return np.unique(np.concatenate([firsts, order[:SEARCHED]]))


def _shape(model: Any, side: float) -> tuple[int, int, int]:
    """Of the images that a model is shown, where the data's shorter side is `side`."""
    from ..tuning import bodies, options

    if isinstance(model, str | os.PathLike):
        size = options.size_for(str(model), side)
        return size, size, bodies.documented_shape(str(model))[2]
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.inputs[0].shape) != 4:
        raise ValueError(
            f"Expected model to be MODEL:WEIGHTS, a .keras file, or a functional model of images; received "
            f"{model!r}. Of a model class of your own, pass its functional body, or probabilities of your own."
        )
    height, width, channels = model.inputs[0].shape[1:]
    return height or int(side), width or int(side), channels


class _View:
    """The images of a source at another size, in colour or grey."""

    def __init__(self, source: Source, image_shape: tuple[int, int, int]):
        self.source = source
        self.labels = source.labels
        self.image_shape = image_shape

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 images 0-255 (n, h, w, c) and int32 labels (n,)."""
        images, labels = self.source.batch(indices)
        if images.shape[3] != self.image_shape[2]:
            images = to_channels(images, self.image_shape[2])
        return np.stack([resize(image, self.image_shape[:2]) for image in images]), labels

    def subset(self, indices: np.ndarray) -> "_View":
        """Returns the source of these images only, in this order."""
        return _View(self.source.subset(indices), self.image_shape)
