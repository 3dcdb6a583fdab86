"""What a recipe takes from its options: its data and its loss, as the preset has them."""

import dataclasses
from typing import Any

import keras

from convcraft.layers import BootstrappedCrossentropy

from . import data
from .common import Common
from .data.splits import fold_of

UPRIGHT = ("digits", "mnist", "sign_digits", "svhn")  # a mirrored 2 is no 2


def load(config: Common, augment: Any = None, **options: Any) -> data.Data:
    """The data that `config` names: `training.data.load` with its size, batch size and seed.

    With the preset "modern", the training images go through `RandAugment` and random erasing in place of `augment`,
    mirrored where the recipe's `flip` allows it, and are mixed with each other, labels alike, by MixUp or CutMix.

    Args:
        config: a `training.Common`.
        augment: of the training images; see `training.data.load`.
        options: of `training.data.load`.

    Returns:
        A `training.data.Data`.

    Example:
        >>> from convcraft.training import Common
        >>> load(Common(data="digits", image_size=16)).image_shape
        (16, 16, 1)
    """
    size = config.image_size or None
    augment = None if config.preset == "modern" else augment
    images = data.load(
        config.data, size=size, batch_size=config.batch_size, seed=config.seed, augment=augment, **options
    )
    if config.preset != "modern":
        return images
    asked = getattr(config, "flip", True) and getattr(config, "mirror", True)  # a recipe's, fine-tuning's
    return modern(images, asked and can_mirror(config.data) and not images.alternate_flip)  # which mirrors by itself


def modern(images: data.Data, mirror: bool = True) -> data.Data:
    """Data that were loaded already, as `load` gives them for the preset "modern".

    Args:
        images: a `training.data.Data`, but not of the user's own tf.data.
        mirror: whether a mirrored image means the same.

    Raises:
        ValueError: for tf.data, whose images are augmented where they are made.
    """
    if images.streams:
        raise ValueError("Expected preset=recipe with your own tf.data: augment and mix the images there, by .map.")
    mix = images.mix or data.loading.mixer(len(images.class_names), images.seed)
    return dataclasses.replace(images, augment=data.draws.augmentation("modern", mirror), mix=mix)


def can_mirror(name: str) -> bool:
    """Whether images of this set mean the same when mirrored left and right: not digits, and nothing with text.

    Example:
        >>> can_mirror("cifar10"), can_mirror("digits")
        (True, False)
    """
    name = str(fold_of(name)[0])
    return name.rstrip("/").rpartition("/")[2].removeprefix("tfds:").removesuffix(".npz") not in UPRIGHT


def loss(config: Common, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Crossentropy from logits, for the labels that `load` gives.

    Args:
        config: a `training.Common`. The preset "modern" mixes labels, which are one-hot then.
        label_smoothing: share of each label that is spread over all classes, from 0 to 1.

    Returns:
        A `keras.losses.Loss`.

    Example:
        >>> from convcraft.training import Common
        >>> float(loss(Common())(np.array([1]), np.array([[0.0, 0.0]])))
        0.6931471824645996
    """
    if config.preset == "modern":
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    if label_smoothing:  # Keras smooths one-hot labels only; with full trust in them this is plain crossentropy
        return BootstrappedCrossentropy(beta=1.0, label_smoothing=label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
