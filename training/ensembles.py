"""Several models as one: their probabilities are averaged, and what they see may be mirrored, too."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from convcraft import zoo
from convcraft.layers import ClassNames, Model
from convcraft.layers.base import to_numpy

TINY = 1e-30  # before the logarithm of a probability


def Ensemble(members: Sequence[keras.Model], *, mirrors: bool = False, name: str = "ensemble") -> Model:
    """One model whose probabilities are the mean of its members'.

    It is saved, loaded, measured and exported as any other: raw images in, logits out (the logarithm of the mean).
    Members that err differently gain most: of other architectures, of other seeds, or of the ends of several cycles
    of the learning rate (`Snapshots`). It costs what its members cost together.

    Args:
        members: functional models from the same images to logits of the same classes. Their layers are shared with
            the ensemble, not copied; the same model twice would vote twice.
        mirrors: whether each member also sees the image mirrored left and right, for twice the cost. It helps where a
            mirrored image means the same, and the members were trained on both.
        name: of the model.

    Returns:
        A `convcraft.Model`.

    Raises:
        ValueError: for members that do not fit together.

    Example:
        >>> both = Ensemble([zoo.create("plain_cnn", classes=["ant", "bee"]) for _ in range(2)])
        >>> both.output_shape, zoo.class_names(both)
        ((None, 2), ['ant', 'bee'])

    Reference:
        Hansen, Salamon 1990, "Neural Network Ensembles".
    """
    members = list(members)
    if not members:
        raise ValueError("Expected members to be a list of models, received an empty one.")
    first = members[0]
    for member in members:
        if len(getattr(member, "inputs", None) or ()) != 1 or len(member.output_shape) != 2:
            raise ValueError(f"Expected members from images to logits, received {member.name}.")
        for what in ("input_shape", "output_shape"):
            one, other = getattr(first, what), getattr(member, what)
            if one != other:
                raise ValueError(f"Expected members of one {what}, received {one} and {other} ({member.name}).")
        if zoo.class_names(member) != zoo.class_names(first):
            raise ValueError(f"Expected members of the same classes, those of {member.name} are others.")
    images = keras.Input(first.input_shape[1:], name="images")
    shares = []
    for number, member in enumerate(members, 1):
        net = keras.Model(member.input, member.output, name=f"member{number}")
        seen = [images, keras.ops.flip(images, axis=2)] if mirrors else [images]
        shares += [keras.layers.Softmax(dtype="float32")(net(x)) for x in seen]
    mean = shares[0] if len(shares) == 1 else keras.layers.Average(dtype="float32")(shares)
    logits = keras.ops.log(keras.ops.maximum(mean, TINY))
    names = zoo.class_names(first)
    return Model(images, ClassNames(names, name="class_names")(logits) if names else logits, name=name)


class Snapshots(keras.callbacks.Callback):
    """Keeps the weights at the end of each cycle of the learning rate: several models for the price of one.

    The rate should be low where a cycle ends, and high where the next begins, so that the model leaves one minimum for
    another: `keras.optimizers.schedules.CosineDecayRestarts`. What is kept is part of a run's checkpoints.

    Args:
        epochs: of the training.
        cycles: how many; they divide the epochs as evenly as possible.

    Example:
        >>> Snapshots(epochs=10, cycles=3).ends
        [3, 7, 10]

    Reference:
        Huang, Li, Pleiss, Liu, Hopcroft, Weinberger 2017, "Snapshot Ensembles: Train 1, Get M for Free",
        arXiv 1704.00109.
    """

    def __init__(self, epochs: int, cycles: int):
        super().__init__()
        if not 1 <= cycles <= epochs:
            raise ValueError(f"Expected from 1 to {epochs} cycles in {epochs} epochs, received {cycles}.")
        self.ends = [round(epochs * cycle / cycles) for cycle in range(1, cycles + 1)]
        self.kept: list[np.ndarray] = []  # of all snapshots in a row: a list of arrays is what checkpoints hold

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets what an earlier training left."""
        self.kept = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the weights where a cycle ends."""
        if epoch + 1 in self.ends:
            self.kept += [to_numpy(weight) for weight in self.model.weights]

    def models(self, model: keras.Model) -> list[keras.Model]:
        """A copy of `model` for each snapshot, the earliest first."""
        count = len(model.weights)
        made = []
        for start in range(0, len(self.kept), count):
            copy = keras.models.clone_model(model)
            copy.set_weights(self.kept[start : start + count])
            made.append(copy)
        return made
