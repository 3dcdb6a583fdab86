"""What a trained model sees in picture files."""

import os
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from .data import images


def pictures(
    model: keras.Model, paths: Iterable[str | os.PathLike[str]], top: int = 3
) -> Iterator[tuple[str | os.PathLike[str], list[tuple[str, float]]]]:
    """Classifies picture files, each by itself.

    A picture is read and resized as `data.load` does it for folders: the shorter side to the model's size, then the
    centre.

    Args:
        model: a zoo model or another from raw 0-255 images to logits.
        paths: of image files.
        top: how many classes to name.

    Yields:
        (path, [(class name, probability), …]), the most probable first.

    Raises:
        ValueError: for a file that is not a readable image.
    """
    from convcraft.zoo import class_names

    height, width, channels = model.input_shape[1:]
    names = class_names(model) or [str(number) for number in range(model.output_shape[-1])]
    for path in paths:
        picture = images.decode(path, channels if channels in (1, 3) else None)
        if height and width:
            picture = images.fit(picture, (height, width))
        logits = model.predict(np.asarray(picture, "float32")[None], verbose=0)
        shares = keras.ops.convert_to_numpy(keras.ops.softmax(logits))[0]
        order = np.argsort(shares)[::-1][:top]
        yield path, [(names[number], float(shares[number])) for number in order]
