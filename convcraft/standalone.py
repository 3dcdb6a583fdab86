"""A recipe's model in one file that needs Keras alone: what `convcraft copy --with-model` writes."""

import importlib
import inspect
import re
import types

import keras

from convcraft import zoo

from .flat_code import Writer
from .inlining import collect

CLASSES = 13  # no layer has so many channels, so that a layer with 13 outputs must be one that knows the classes
# height, width and channels of the data sets that recipes name
SHAPES = {
    "digits": (32, 32, 1),
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "tinyimagenet80": (64, 64, 3),
    "imagenet2012": (224, 224, 3),
}
USUAL = (32, 32, 3)  # CIFAR's

DOCSTRING = '''\
"""{summary}

The model of {name}, a recipe of convcraft, layer by layer, with what Keras lacks.
The file needs Keras and NumPy; for its embedded data, scikit-learn; for folders of pictures, Pillow.

    python THIS_FILE                     trains on scikit-learn's handwritten digits
    python THIS_FILE --data FOLDER       on pictures: a folder for each class, or train and test (or val) with them
    python THIS_FILE --data FILE.npz     on arrays: x_train, y_train, x_test, y_test

It trains by Keras's `fit`, with the recipe's optimizer, learning rate and weight decay, along a cosine. The recipe's
augmentation, its schedule, its loss, auxiliary classifiers, first weights and second looks of its own, the checkpoints
to resume from, and the report are not here, and the accuracy that the recipe promises is not this file's:
`convcraft train {name}` has them.

The model takes raw 0-255 images of {shape} and gives logits. What it saves holds the names of the classes, and loads
where this file is imported, or with `convcraft.load_model`.
"""
'''

LOOP = '''\
SHAPE = {shape}  # of the images that the model takes
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def load(source):
    """(training images, labels), (test images, labels), class names; images are resized to SHAPE, 0-255."""
    if source == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        images, labels = digits.images[..., None] * (255 / 16), digits.target
        names = [str(digit) for digit in range(10)]
    elif source.endswith(".npz"):
        with np.load(source) as arrays:
            images = np.concatenate([arrays["x_train"], arrays["x_test"]])
            labels = np.concatenate([arrays["y_train"], arrays["y_test"]]).ravel().astype("int32")
            count = len(arrays["x_train"])
        names = [str(number) for number in range(labels.max() + 1)]
        images = resized(images if images.ndim == 4 else images[..., None])
        return (images[:count], labels[:count]), (images[count:], labels[count:]), names
    else:
        root = pathlib.Path(source)
        split = (root / "train").is_dir()
        names = sorted(each.name for each in (root / "train" if split else root).iterdir() if each.is_dir())
        if split:
            test = root / "test" if (root / "test").is_dir() else root / "val"
            return pictures(root / "train", names), pictures(test, names), names
        images, labels = pictures(root, names)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = resized(images[order]), labels[order].astype("int32")
    held_out = len(labels) // 5
    return (images[held_out:], labels[held_out:]), (images[:held_out], labels[:held_out]), names


def pictures(root, names):
    """Images in SHAPE, as bytes, and labels, of a folder with a folder for each class."""
    found = [(file, label) for label, name in enumerate(names) for file in sorted((root / name).rglob("*"))]
    found = [(file, label) for file, label in found if file.suffix.lower() in PICTURES]
    options = {{"color_mode": "grayscale" if SHAPE[2] == 1 else "rgb", "target_size": SHAPE[:2]}}
    options["interpolation"] = "bilinear"
    images, labels = [], []
    for file, label in found:
        try:
            images.append(keras.utils.img_to_array(keras.utils.load_img(file, **options), dtype="uint8"))
            labels.append(label)
        except OSError as error:  # broken, or of a format that Pillow does not know
            print(f"Left out: {{error}}")
    return np.stack(images), np.array(labels, "int32")


def resized(images):
    """The images in the height, width and channels of SHAPE, as bytes."""
    parts = []
    for start in range(0, len(images), 256):
        part = np.asarray(images[start : start + 256], "float32")
        if part.shape[1:3] != SHAPE[:2]:
            part = keras.ops.convert_to_numpy(keras.ops.image.resize(part, SHAPE[:2], antialias=True))
        if part.shape[-1] != SHAPE[2]:
            grey = part.mean(axis=-1, keepdims=True)
            part = np.repeat(grey, SHAPE[2], axis=-1)
        parts.append(np.clip(np.rint(part), 0, 255).astype("uint8"))
    return np.concatenate(parts)


def main():
    """Trains, saves, loads the saved file, and measures it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\\n")[0])
    parser.add_argument("--data", default="digits", help="digits, a folder of class folders, or an .npz file")
    parser.add_argument("--epochs", type=int, default={epochs})
    parser.add_argument("--batch-size", type=int, default={batch_size})
    parser.add_argument("--learning-rate", type=float, default={learning_rate})
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default=pathlib.Path(__file__).stem + ".keras", help="the trained model's file")
    parser.add_argument("--smoke", action="store_true", help="a few images, one epoch: does it run at all?")
    options = parser.parse_args()
    output = pathlib.Path(options.output)
    if output.suffix != ".keras" or not output.parent.is_dir():
        parser.error(f"argument --output: expected a .keras file in a folder that exists, received {{output}}")
    if options.epochs < 1 or options.batch_size < 1:
        parser.error("arguments --epochs and --batch-size: expected at least 1")
    keras.utils.set_random_seed(options.seed)
    (x_train, y_train), (x_test, y_test), names = load(options.data)
    if options.smoke:
        x_train, y_train, x_test, y_test, options.epochs = x_train[:32], y_train[:32], x_test[:32], y_test[:32], 1
    net = build(names, SHAPE)
    for layer in net.layers:
        if hasattr(layer, "adapt"):  # to the training images, as a whitening
            layer.adapt(x_train.astype("float32"))
    steps = -(-len(x_train) // options.batch_size) * options.epochs
    rate = keras.optimizers.schedules.CosineDecay(options.learning_rate, steps)
    optimizer = {optimizer}
{decay}    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    net.fit(x_train, y_train, batch_size=options.batch_size, epochs=options.epochs, verbose=2)
{precise}    net.save(options.output)
    loss, accuracy = keras.saving.load_model(options.output).evaluate(x_test, y_test, verbose=0)
    print(f"{{options.output}}: accuracy {{accuracy:.4f}}, loss {{loss:.4f}} on {{len(x_test)}} test images")


if __name__ == "__main__":
    main()
'''

# for recipes that use training.PreciseNormalization
PRECISE = '''\
class AsInTraining(layers.Layer):
    """A batch normalization that uses and gathers the batch's statistics in a net that predicts."""

    def __init__(self, norm):
        super().__init__(dtype=norm.dtype_policy)
        self.norm = norm

    def call(self, inputs, mask=None):
        return self.norm.call(inputs, training=True, mask=mask)


def recalibrate(net, images):
    """Measures batch normalization anew: the net trains with some of its paths and predicts with all."""
    norms = [layer for layer in net.layers if isinstance(layer, layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]

    def call(layer, *args, **kwargs):
        return (AsInTraining(layer) if layer in norms else layer)(*args, **kwargs)

    measured = keras.models.clone_model(net, clone_function=lambda layer: layer, call_function=call)
    for number, start in enumerate(range(0, len(images), 128)):
        for norm in norms:
            norm.momentum = number / (number + 1)  # the mean over the batches
        measured(images[start : start + 128].astype("float32"), training=False)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum'''

OPTIMIZERS = {
    "sgd": "SGD(rate{decay})",
    "momentum": "SGD(rate, momentum=0.9{decay})",
    "nesterov": "SGD(rate, momentum=0.9, nesterov=True{decay})",
    "adam": "Adam(rate{decay})",
    "adamw": "AdamW(rate{decay})",
    "rmsprop": "RMSprop(rate{decay})",
    "adagrad": "Adagrad(rate{decay})",
}
DECAY = """\
    if optimizer.weight_decay:  # of kernels only
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "alpha"])
"""


def text(name: str) -> str:
    """The source of a file that builds and trains the model of a recipe by Keras alone.

    Args:
        name: of the recipe.

    Raises:
        ValueError: for a recipe whose model is not one classifier that can be written so.
    """
    recipe = importlib.import_module(f"convcraft.recipes.{name}")
    parameters = inspect.signature(recipe.model).parameters if hasattr(recipe, "model") else ()
    if list(parameters)[:2] != ["config", "images"]:
        raise ValueError(f"{name} has no single model to write into a file: copy it without --with-model.")
    config = recipe.Config()
    if getattr(config, "members", 1) > 1:
        raise ValueError(f"{name} trains several networks, and the file would have one: copy it without --with-model.")
    shape = _shape(config)
    images = types.SimpleNamespace(
        class_names=[str(number) for number in range(CLASSES)],
        image_shape=shape,
        counts={"train": {}, "val": {}, "test": {}},
    )
    net = recipe.model(config, images)
    if not isinstance(net, keras.Model) or len(net.outputs) != 1 or tuple(net.output_shape[1:]) != (CLASSES,):
        raise ValueError(f"{name}'s model is not one classifier of images: copy it without --with-model.")
    net = zoo.without_auxiliary(net)  # their losses need a convcraft.Model
    writer = Writer(CLASSES)
    writer.write(net, "build", "The model: raw 0-255 images in, one logit for each of `classes`, a list of names.")
    inlined = collect(writer.needs.values())
    decay = getattr(config, "weight_decay", 0.0)
    precise = "PreciseNormalization(" in inspect.getsource(recipe)
    loop = LOOP.format(
        shape=shape,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        optimizer="keras.optimizers."
        + OPTIMIZERS[config.optimizer].format(decay=f", weight_decay={decay!r}" if decay else ""),
        decay=DECAY if decay else "",
        precise="    recalibrate(net, x_train[:2048])\n" if precise else "",
    )
    docstring = DOCSTRING.format(
        summary=(recipe.__doc__ or name).split("\n")[0],
        name=name,
        shape="x".join(map(str, shape)),
    )
    parts = [*inlined.definitions, *writer.functions, *([PRECISE] if precise else [])]
    body = "\n\n\n".join([*parts, loop])
    return f"{docstring}\n{_imports(inlined.imports, body)}\n\n{body}"


def _shape(config):
    """(height, width, channels) of the images that a recipe's documented data have."""
    name = config.data.split(" or ")[0]
    high, wide, channels = SHAPES.get(name, USUAL)
    return (config.image_size, config.image_size, channels) if config.image_size else (high, wide, channels)


def _imports(wanted, body):
    """The import lines, the standard library's first, `from` lines of one module together."""
    lines = {"import argparse", "import pathlib", "import keras", "import numpy as np", *wanted}
    if re.search(r"(?<![\w.])layers\.", body):
        lines.add("from keras import layers")
    together: dict[str, set[str]] = {}
    for line in [line for line in lines if line.startswith("from ")]:
        module, names = line.removeprefix("from ").split(" import ")
        together.setdefault(module, set()).add(names)
    plain = sorted(line for line in lines if line.startswith("import "))
    froms = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(together.items())]
    foreign = ("keras", "numpy", "scipy", "sklearn")
    blocks = ([], [])  # type: tuple[list[str], list[str]]
    for line in [*plain, *froms]:
        blocks[line.split()[1].split(".")[0] in foreign].append(line)
    return "\n\n".join("\n".join(block) for block in blocks if block)
