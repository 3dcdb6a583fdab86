"""The one base of our augmentation layers: a thin layer over a pure function of images and seeds."""

from typing import Any

import keras
from keras import ops

from .base import Shape, Tensor, checked_data_format, seed_generator
from .draws import image_seeds


class Augmentation(keras.layers.Layer):
    """Changes images in training, one draw an image; the identity elsewhere.

    A subclass implements `augment(images, seeds)`: float images of shape (n, height, width, channels) or channels
    first, int32 seeds of shape (n,). Integers come in, the compute dtype goes out.

    `training=True` is the default, as in Keras's own augmentation: with None, `dataset.map(layer)` would silently
    return its input. `model.predict` and `layer(x, training=False)` change nothing but the dtype.

    The layer's own seeds come from its `seed`; `layer.transform(images, seed)` is the pure function, with a seed for
    the batch or one for each image.
    """

    def __init__(self, seed: int | None = None, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = seed_generator(seed, type(self).__name__)
        self.data_format = checked_data_format(data_format, type(self).__name__)

    def call(self, images: Tensor, training: bool | None = True) -> Tensor:
        """Images of shape (n, h, w, c) or (h, w, c), any dtype, in; the same shape in the compute dtype out."""
        if not training:
            return ops.cast(images, self.compute_dtype)
        return self.transform(images, self.seed_generator)

    def transform(self, images: Tensor, seed: int | keras.random.SeedGenerator | Tensor) -> Tensor:
        """The pure function: changes `images` by `seed` (an integer, or int32 of shape (n,)), whatever the phase."""
        images = ops.cast(ops.convert_to_tensor(images), self.compute_dtype)
        rank = len(images.shape)
        if rank not in (3, 4):
            raise ValueError(
                f"{type(self).__name__}: expected a batch of images (rank 4) or one image (rank 3), "
                f"received shape {tuple(images.shape)}."
            )
        batch = images if rank == 4 else ops.expand_dims(images, 0)
        batch = self.augment(batch, image_seeds(seed, ops.shape(batch)[0]))
        return ops.cast(batch if rank == 4 else ops.squeeze(batch, 0), self.compute_dtype)

    def augment(self, images: Tensor, seeds: Tensor) -> Tensor:
        """To be implemented by a subclass; see the class."""
        raise NotImplementedError(f"{type(self).__name__} does not implement augment(images, seeds).")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Same shape as the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "seed": self.seed, "data_format": self.data_format}
