"""What our models cost, as ratios against the same architecture elsewhere, timed in turn in one process.

    python benchmarks/zoo.py                        # all parts: build, predict, train
    python benchmarks/zoo.py train resnet50_v1      # one part, one model

Peers: keras.applications as its users run it (Keras's defaults) and compiled as ours is; timm on PyTorch, eager, where
timm is installed. All see the same images of 128x128; the peers are spared the preprocessing, which our models have
inside. A ratio is the median over rounds of (our time / the peer's time); below 1 ours is faster. Each row goes to
benchmarks/results/zoo.csv with device, versions and commit; what is run again replaces its rows.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from timing import BACKEND, ROUNDS, Pair, measure, save  # isort: skip - before Keras: it quiets TensorFlow

import keras
import numpy as np

from convcraft import zoo
from convcraft.training.distribute import compile_xla

SIZE, BATCH, CLASSES = 128, 8, 1000
MODELS = {  # ours: (keras.applications', timm's)
    "mobilenet_v1": ("MobileNet", None),
    "mobilenet_v2": ("MobileNetV2", "mobilenetv2_100"),
    "mobilenet_v3_large": ("MobileNetV3Large", "mobilenetv3_large_100"),
    "resnet50_v1": ("ResNet50", None),
    "resnet50_v2": ("ResNet50V2", None),
    "resnet50": (None, "resnet50"),
    "inception_v3": ("InceptionV3", "inception_v3"),
    "vgg16": ("VGG16", "vgg16"),
}
PARTS = ("build", "predict", "train")
AIM = "at most 1"
rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (BATCH, SIZE, SIZE, 3)).astype("float32")
LABELS = rng.integers(0, CLASSES, BATCH)


def theirs(name: str) -> keras.Model:
    """The architecture of keras.applications, with logits."""
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=(SIZE, SIZE, 3), classes=CLASSES, classifier_activation=None)


def prepare(model: keras.Model, **options: Any) -> keras.Model:
    """Compiles for training; `options` are those of `compile`."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-4, momentum=0.9), loss, **options)
    return model


def counted(build: Callable[[], Any]) -> Callable[[], int]:
    """`build`, giving out a number: there is nothing to wait for."""
    return lambda: int(bool(build()))


def timm_step(name: str, part: str) -> Callable[[], Any] | None:
    """One call of timm's model on PyTorch, as plain scripts have it; None where timm is not installed."""
    try:
        import timm
        import torch
    except ImportError:
        print("timm is not installed: its rows are left out (pip install timm).")
        return None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if part == "build":
        return counted(partial(timm.create_model, name, num_classes=CLASSES))
    model = timm.create_model(name, num_classes=CLASSES).to(device)
    images = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()).to(device)
    labels = torch.from_numpy(LABELS).to(device)

    def predict() -> Any:
        with torch.no_grad():
            return model(images).cpu().numpy()

    if part == "predict":
        model.eval()
        return predict
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def train() -> float:
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return train


def step(model: keras.Model, part: str) -> Callable[[], Any]:
    """One call of a compiled Keras model."""
    if part == "predict":
        return lambda: model.predict_on_batch(IMAGES)
    return lambda: model.train_on_batch(IMAGES, LABELS)


def pairs(part: str, name: str) -> Iterator[Pair]:
    """Ours beside each peer."""
    applications, timm_name = MODELS[name]
    build = partial(zoo.create, name, classes=CLASSES, input_shape=(SIZE, SIZE, 3))
    run = counted(build) if part == "build" else step(prepare(build(), jit_compile=compile_xla()), part)
    pair = partial(Pair, name, run=run, aim=AIM, repeat=1)
    if applications and part == "build":
        peer = {"run_peer": counted(partial(theirs, applications))}
        yield pair(f"keras.applications {applications}", **peer)
        uniform = counted(partial(build, design=zoo.Design(conv_init="glorot_uniform")))  # as the peer draws
        yield Pair(f"{name}, glorot_uniform", f"keras.applications {applications}", uniform, **peer, aim=AIM, repeat=1)
    elif applications:
        usual = step(prepare(theirs(applications)), part)
        yield pair(f"keras.applications {applications}, defaults", run_peer=usual)
        tuned = step(prepare(theirs(applications), jit_compile=compile_xla()), part)
        yield pair(f"keras.applications {applications}, as ours", run_peer=tuned)
    other = timm_step(timm_name, part) if timm_name else None
    if other:
        yield pair(f"timm {timm_name} on PyTorch", run_peer=other)


def rows(part: str, names: list[str]) -> Iterator[list[Any]]:
    """Measured rows of the results."""
    for name in names:
        for pair in pairs(part, name):
            yield [part, pair.ours, pair.peer, BACKEND, *measure(pair), pair.aim, ROUNDS]
        keras.utils.clear_session()


def main(arguments: list[str]) -> None:
    """Measures, prints, and replaces the rows of these parts and this backend."""
    unknown = [word for word in arguments if word not in (*PARTS, *MODELS)]
    if unknown:
        sys.exit(f"Expected parts ({', '.join(PARTS)}) and models ({', '.join(MODELS)}); received {unknown[0]}.")
    names = [name for name in MODELS if name in arguments] or list(MODELS)
    for part in [part for part in PARTS if part in arguments] or PARTS:
        start = time.perf_counter()
        save("zoo", rows(part, names))
        print(f"{part}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
