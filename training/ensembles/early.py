"""One head on the features of several models: early fusion."""

import os
from collections.abc import Sequence
from typing import Any

import keras

from convcraft.layers import Model

from ..data import Data
from ..restoring import same_draws
from ..tuning import bodies, frozen_features
from ..tuning.linear import logistic
from . import ensemble, fusion


@same_draws()
def fuse_features(
    sources: Sequence[keras.Model | str | os.PathLike[str]],
    data: Data,
    *,
    split: str = "train",
    preprocessing: str | None = None,
    name: str = "fusion",
) -> Model:
    """One linear classifier of what several networks see, side by side: early fusion.

    For networks that learned from different sources, as photographs and drawings: a class may need what one of them
    sees of this and the other of that, which no mean of their answers can tell. The classifier is a logistic regression
    whose strength is chosen by cross-validation; the networks stay as they are. It can be fine-tuned as a whole then.

    Args:
        sources: pretrained models, of which copies are taken: Keras models, MODEL:WEIGHTS, `.keras` files or the
            directories of runs. Their classifiers are left out, so they may know other classes.
        data: a `training.data.Data`.
        split: what the classifier is fitted to: "train"; or "val" where the networks themselves were trained on these
            training images, which they know by heart, so that their features promise more than they keep.
        preprocessing: what models expect that do not preprocess images themselves; see `fine_tune`.
        name: of the model.

    Returns:
        A `convcraft.Model`: raw images in, logits out.

    Raises:
        ValueError: for no sources, those that do not fit the images, and data without that split.

    Example:
        >>> from convcraft import zoo
        >>> from convcraft.training import data
        >>> digits = data.load("digits", size=8)
        >>> nets = [keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()])]
        >>> zoo.class_names(fuse_features(nets, digits))[:3]
        ['0', '1', '2']

    Reference:
        Wei, Gao, Wu 2015, "Deep Spatial Pyramid Ensemble for Cultural Event Recognition", the ensemble of several
        networks' features.
    """
    sources = ensemble.listed(sources, "sources")
    fusion.required(data, split, "fuse_features")
    shape = data.image_shape
    images = keras.Input(shape, name="images")
    seen, levels = [], []
    for number, source in enumerate(sources, 1):
        body = bodies.find(source, _shape_for(source, shape), preprocessing=preprocessing).model
        net = keras.Model(body.inputs[0], body.outputs[0], name=f"source{number}")
        seen.append(net(ensemble.as_seen_by(net, images)))
        levels.append(keras.layers.Activation("linear", dtype="float32")(seen[-1]))
    both = levels[0] if len(levels) == 1 else keras.layers.Concatenate(dtype="float32")(levels)
    body = bodies.Body(Model(images, both), name, None, {})
    features = frozen_features.compute(body, data, split=split, mirror=False)
    fusion.finite(features.vectors[""], "features of the sources")
    if len(set(features.labels.tolist())) < len(data.class_names):
        raise ValueError(f"Expected {split} images of all {len(data.class_names)} classes, to learn from.")
    return fusion.headed(images, [both], logistic(features, seed=data.seed), data.class_names, name)


def _shape_for(source: Any, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """(height, width, channels) of the images that a source is to be shown: its own where it has one."""
    if isinstance(source, str | os.PathLike):
        wanted = bodies.documented_shape(os.fspath(source))
        height, width = wanted[:2] if bodies.fixed_size(os.fspath(source)) else (None, None)
    elif len(getattr(source, "inputs", None) or ()) == 1 and len(source.input_shape) == 4:
        wanted = source.input_shape[1:]
        height, width = wanted[:2]
    else:  # `bodies.find` says what is wrong with it
        return shape
    return height or shape[0], width or shape[1], wanted[2]
