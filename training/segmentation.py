"""A class for each pixel: data that have masks, and how well a model finds them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .data import Data, Feed, Source
from .data.splits import Report
from .data.stored import ArraySource, hash_arrays

if TYPE_CHECKING:
    import keras

SHARES = {"val": 0.1, "test": 0.2}  # of the images, where nothing else was given
WORST = 12  # scenes in the report


def from_masks(
    images: np.ndarray,
    masks: np.ndarray,
    class_names: list[str],
    *,
    batch_size: int = 16,
    seed: int = 0,
    augment: Any = None,
    alternate_flip: bool = False,
    name: str = "masks",
) -> Data:
    """Data for segmentation: images, and as many masks that say the class of each pixel.

    A fifth is held out to test, the same for every seed, and a tenth of the rest for validation.

    Args:
        images: (n, height, width, channels), uint8.
        masks: (n, height, width), integers from 0 to the number of classes.
        class_names: by number; the background is a class like others.
        batch_size: images a batch.
        seed: of the validation split, the order and the augmentation.
        augment: of the training images alone: colours, noise, not what moves pixels; see `data.load`.
        alternate_flip: whether to mirror images and masks in every other epoch.
        name: of the data, for the report.

    Returns:
        A `training.data.Data`.

    Raises:
        ValueError: for arrays that do not belong together.

    Example:
        >>> found = from_masks(np.zeros((20, 8, 8, 3), "uint8"), np.zeros((20, 8, 8), "int32"), ["land", "water"])
        >>> {split: len(source) for split, source in found.sources.items()}
        {'train': 14, 'val': 2, 'test': 4}
    """
    images, masks = np.asarray(images), np.asarray(masks)
    if images.ndim != 4 or masks.shape != images.shape[:3] or len(images) < 10:
        raise ValueError(
            "Expected images (n, height, width, channels) and masks (n, height, width) of at least 10 scenes, received "
            f"shapes {images.shape} and {masks.shape}."
        )
    if images.dtype != np.uint8:
        raise ValueError(f"Expected images of dtype uint8, 0-255, received {images.dtype}.")
    if masks.dtype.kind not in "iu" or masks.min() < 0 or masks.max() >= len(class_names):
        raise ValueError(
            f"Expected masks of integers from 0 to {len(class_names) - 1}, received {masks.dtype} from {masks.min()} "
            f"to {masks.max()}."
        )
    masks = masks.astype(np.int32)
    test = round(SHARES["test"] * len(images))
    order = np.random.default_rng(0).permutation(len(images))  # of every seed
    rest = np.random.default_rng([seed, 1]).permutation(order[test:])
    held = max(1, round(SHARES["val"] * len(rest)))
    parts = {"train": np.sort(rest[held:]), "val": np.sort(rest[:held]), "test": np.sort(order[:test])}
    sources: dict[str, Source] = {split: ArraySource(images[rows], masks[rows]) for split, rows in parts.items()}
    counts = {split: {"images": len(rows)} for split, rows in parts.items()}
    sha256 = hash_arrays(np.array(class_names), images, masks)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    report = Report(name, counts, shape)
    return Data(
        list(class_names), counts, shape, report, sha256, batch_size, seed, sources, augment, None, alternate_flip
    )


def score(model: "keras.Model", images: Source, batch_size: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measures a model that gives each pixel a class.

    Args:
        model: raw 0-255 images to logits, (n, height, width, classes).
        images: whose labels are masks.
        batch_size: images at a time.

    Returns:
        (metrics, arrays): `mean_iou` (Keras's `MeanIoU`: over all pixels of all images, the mean of the classes that
        are there or predicted), `accuracy` (of the pixels), `loss` (mean crossentropy of a pixel) and `n` (images);
        for predictions.npz `confusion` (pixels, actual classes down), `shares` (of each image's pixels, those that
        are right), and of the worst images `index`, `images`, `truth` and `answer`.
    """
    import keras

    classes = model.output_shape[-1]
    metric = keras.metrics.MeanIoU(classes, sparse_y_true=True, sparse_y_pred=True)
    losses, shares, answers = [], [], []
    for pictures, masks in Feed(images, batch_size, shuffle=False).numpy():
        logits = np.asarray(keras.ops.convert_to_numpy(model.predict_on_batch(pictures)), "float64")
        logits -= logits.max(axis=-1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        losses.append(-np.take_along_axis(logs, masks[..., None].astype("int64"), axis=-1).mean(axis=(1, 2, 3)))
        answer = logits.argmax(axis=-1)
        metric.update_state(masks, answer)
        shares.append((answer == masks).mean(axis=(1, 2)))
        answers.append(answer.astype("uint8"))
    right, found = np.concatenate(shares), np.concatenate(answers)
    metrics = {
        "mean_iou": float(metric.result()),
        "accuracy": float(right.mean()),
        "loss": float(np.concatenate(losses).mean()),
        "n": len(right),
    }
    rows = np.argsort(right, kind="stable")[:WORST]
    pictures, truth = images.batch(rows)
    arrays = {
        "confusion": np.rint(keras.ops.convert_to_numpy(metric.total_cm)).astype("int64"),
        "shares": right,
        "index": rows,
        "images": np.clip(np.rint(pictures), 0, 255).astype("uint8"),
        "truth": truth.astype("uint8"),
        "answer": found[rows],
    }
    return metrics, arrays
