"""A recipe with everything that a resumed run must restore; it can be told to die at a step."""

import os
import signal
from dataclasses import dataclass

import keras
import numpy as np

from convcraft import layers, training


@dataclass
class Config(training.Common):
    epochs: int = 4
    batch_size: int = 16
    images: int = 104
    schedule: str = "cosine"
    balance: str = ""
    strategy: str = "none"


def data(config):
    rng = np.random.default_rng(config.seed)
    labels = np.arange(config.images) % 3
    pictures = (rng.uniform(0, 120, (config.images, 8, 8, 1)) + 60 * labels[:, None, None, None]).astype("uint8")
    augment = layers.RandomAffine(rotation=20, shift=0.1).transform
    if config.balance:  # three times as many of the first class
        kept = (labels == 0) | (np.arange(len(labels)) % 9 < 3)
        pictures, labels = pictures[kept], labels[kept]
    found = training.data.load((pictures, labels), batch_size=config.batch_size, seed=config.seed, augment=augment)
    if config.balance == "two_stage":
        return training.two_stage(found, 1, "head", "tail")
    return training.balance(found, config.balance) if config.balance else found


class DieAt(keras.callbacks.Callback):
    """Kills the process, with no chance to clean up, before it does step `DIE_AT`."""

    count = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.count += 1
        if self.count == int(os.environ.get("DIE_AT", 0)):
            os.kill(os.getpid(), signal.SIGKILL)


def train(config, run):
    run.checkpoint_minutes = float(os.environ.get("CHECKPOINT_MINUTES", 5))
    images = data(config)
    with run.scope():
        inputs = keras.Input(images.image_shape)
        x = keras.layers.Conv2D(6, 3)(keras.layers.Rescaling(1 / 255)(inputs))
        x = layers.RReLU()(layers.BatchNormalization()(x))
        x = keras.layers.GaussianNoise(0.1)(x)
        columns = [keras.layers.Conv2D(6, 1, name=f"column{column}")(x) for column in range(2)]
        x = layers.FractalJoin()(columns, layers.FractalPath(2)(inputs))  # `Model` leaves a column out, or none
        x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling2D()(x))
        net = layers.Model(inputs, layers.ClassNames(images.class_names)(keras.layers.Dense(3)(x)))
        net.compile(
            training.optimizer(config, run.steps(images)),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=["accuracy"],
            jit_compile=run.jit,
        )
    stopper = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True, mode="max")
    return run.fit(net, images, callbacks=[DieAt(), stopper])


if __name__ == "__main__":
    training.main(Config, train)
