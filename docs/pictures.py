"""Draws the pictures of docs/layers.md and docs/zoo.md: `make pictures`, or `python docs/pictures.py FOLDER`.

The photograph is scikit-learn's "flower.jpg" (dany13, CC BY 2.0, https://www.flickr.com/photos/dany13/), cropped.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from convcraft import layers, zoo
from convcraft.layers.transforms import NAMES, PIPELINES

BLUE, RED = "#1f5a9e", "#b3402a"
plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110})


def photograph(size: int = 160) -> np.ndarray:
    """A real photograph, uint8, (size, size, 3)."""
    image = load_sample_image("flower.jpg")[20:420, 120:520]
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.image.resize(image.astype("float32"), (size, size))))


def strips(rows: dict, path: pathlib.Path, across: int = 1) -> None:
    """Rows of images, `across` of them side by side, each with its name above: the first image as it was."""
    columns, lines = len(next(iter(rows.values()))), -(-len(rows) // across)
    figure, axes = plt.subplots(lines, columns * across, figsize=(1.1 * columns * across, 1.35 * lines))
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (name, images) in enumerate(rows.items()):
        first = columns * (number // lines)
        line = axes[number % lines, first : first + columns]
        for axis, image in zip(line, images, strict=True):
            axis.imshow(np.clip(image, 0, 255).astype("uint8"))
        line[0].text(0, -8, name, fontsize=9, va="bottom")
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=1 - 0.25 / (1.35 * lines), wspace=0.05)
    save(figure, path)


def save(figure: plt.Figure, path: pathlib.Path) -> None:
    """Small in the repository: curves as a PNG of few colours, photographs as a JPEG."""
    from PIL import Image

    figure.savefig(path)
    plt.close(figure)
    image = Image.open(path).convert("RGB")
    if path.suffix == ".jpg":
        image.save(path, quality=82, optimize=True)
    else:
        image.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def augmentation(folder: pathlib.Path) -> None:
    """Draws of every layer, of every pipeline, and of every name of `RandomTransform`."""
    image = photograph()

    def draws(layer, count):
        # one by one: Keras's own layers would draw once for the batch
        changed = [layer.transform(image, np.array([seed], "int32")) for seed in range(1, count + 1)]
        return [image, *map(keras.ops.convert_to_numpy, changed)]

    strips(
        {
            "FancyPCA()": draws(layers.FancyPCA(), 7),
            "FancyPCA(std=0.5, sqrt=True)": draws(layers.FancyPCA(std=0.5, sqrt=True), 7),
            "HSVJitter()": draws(layers.HSVJitter(), 7),
            "RandomAffine(rotation=20, zoom=0.2, shift=0.1, flip=True)": draws(
                layers.RandomAffine(rotation=20, zoom=0.2, shift=0.1, flip=True), 7
            ),
            **{f'RandomTransform("{name}")': draws(layers.RandomTransform(name), 7) for name in PIPELINES},
        },
        folder / "augmentation.jpg",
    )
    certain = {"random_erasing": 4.0}  # at strength 1 it erases from a quarter of the images
    one = {f'"{name}"': draws(layers.RandomTransform([(name, certain.get(name, 1.0))], count=1), 4) for name in NAMES}
    strips(one, folder / "transforms.jpg", across=2)


def preprocessing(folder: pathlib.Path) -> None:
    """What whitening and standardizing make of a photograph: mid-grey is 0, black and white are -2.5 and 2.5."""
    image = photograph()
    patches = np.stack([image[i : i + 32, j : j + 32] for i in range(0, 128, 4) for j in range(0, 128, 4)])
    kinds = {
        "as it is": None,
        "Squeeze(), -1 to 1": layers.Squeeze(),
        "Standardize()": layers.Standardize(),
        'Whitening("zca")': layers.Whitening("zca"),
        'Whitening("pca")': layers.Whitening("pca"),
        '"zca", patch=5, eps=0.01': layers.Whitening("zca", patch=5, eps=1e-2),
    }
    figure, axes = plt.subplots(1, len(kinds), figsize=(1.7 * len(kinds), 1.95))
    for axis, (name, layer) in zip(axes, kinds.items(), strict=True):
        shown = image / 255
        if layer is not None:
            squeezed = isinstance(layer, layers.Squeeze)
            if not squeezed:
                layer.adapt(patches)
            shown = np.asarray(keras.ops.convert_to_numpy(layer(image[None]))[0]) / (2 if squeezed else 5) + 0.5
        axis.imshow(np.clip(shown, 0, 1))
        axis.set_title(name, fontsize=8)
        axis.set_axis_off()
    figure.tight_layout(pad=0.3)
    save(figure, folder / "preprocessing.jpg")


def activations(folder: pathlib.Path) -> None:
    """Every activation's curve at inference; of the random ones the range of slopes in training."""
    names = [name for name in layers.activation_names() if not name.startswith("maxout")]
    x = np.linspace(-4, 4, 401, dtype="float32")
    figure, axes = plt.subplots(-(-len(names) // 5), 5, figsize=(10, 1.9 * -(-len(names) // 5)), sharex=True)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes.flat, names, strict=False):
        layer = layers.activation(name)
        axis.axhline(0, color="0.85", linewidth=0.8)
        axis.axvline(0, color="0.85", linewidth=0.8)
        if name.startswith("rrelu"):
            seen = [keras.ops.convert_to_numpy(layer(x[:, None], training=True))[:, 0] for _ in range(60)]
            axis.fill_between(x, np.min(seen, 0), np.max(seen, 0), color=BLUE, alpha=0.25, linewidth=0)
        axis.plot(x, keras.ops.convert_to_numpy(layer(x[:, None], training=False))[:, 0], color=BLUE)
        axis.set_title(name, fontsize=9)
        axis.set_ylim(-2, 4)
    figure.tight_layout(pad=0.5)
    save(figure, folder / "activations.png")


def schedules(folder: pathlib.Path) -> None:
    """The learning rate over 8,000 steps, and OneCycle's momentum."""
    steps = np.arange(0, 8001, 20)
    kinds = {
        "triangular": layers.CyclicalLR(0.001, 0.006, 1000),
        "triangular2": layers.CyclicalLR(0.001, 0.006, 1000, mode="triangular2"),
        "exp_range": layers.CyclicalLR(0.001, 0.006, 1000, mode="exp_range", gamma=0.9998),
        "OneCycle": layers.OneCycle(0.006, 8000),
        "OneCycle, three_phase": layers.OneCycle(0.006, 8000, three_phase=True),
    }
    figure, axes = plt.subplots(1, len(kinds), figsize=(2.2 * len(kinds), 1.9), sharey=True)
    for axis, (name, schedule) in zip(axes, kinds.items(), strict=True):
        axis.plot(steps, [float(schedule(int(step))) for step in steps], color=RED)
        axis.set_title(name, fontsize=9)
        axis.set_xticks([0, 4000, 8000])
    axes[0].set_ylabel("learning rate")
    figure.tight_layout(pad=0.5)
    save(figure, folder / "schedules.png")


def models(folder: pathlib.Path) -> None:
    """Two networks of the zoo, stage by stage."""
    for name in ("resnet152", "fractalnet20"):
        zoo.draw(zoo.create(name), folder / f"{name}.svg")
        print(folder / f"{name}.svg")


PICTURES = {
    "augmentation": augmentation,
    "preprocessing": preprocessing,
    "activations": activations,
    "schedules": schedules,
    "models": models,
}


def main(folder: pathlib.Path) -> None:
    """Draws all pictures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    for draw in PICTURES.values():
        draw(folder)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("pictures")))
