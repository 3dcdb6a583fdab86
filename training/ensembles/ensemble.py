"""Several models as one: the mean of their probabilities, of equal weight or not, from the same raw images."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from convcraft import zoo
from convcraft.layers import ClassNames, Model

from .. import heads
from ..recalibration import recalibrate
from ..restoring import same_draws

TINY = 1e-30  # before the logarithm of a probability
SUMS = 1e-4  # how far weights may be from a sum of 1


def Ensemble(
    members: Sequence[keras.Model],
    *,
    weights: Sequence[float] | np.ndarray | None = None,
    mirrors: bool = False,
    name: str = "ensemble",
) -> Model:
    """One model whose probabilities are the mean of its members': late fusion.

    It is saved, loaded, measured and exported as any other: raw images in, logits out (the logarithm of the mean).
    Members that err differently gain most: of other architectures, of other seeds, of the best settings of a
    `cross_validate`, or of the ends of several cycles of the learning rate (`Snapshots`). It costs what its members
    cost together.

    Images are as large as the largest that a member takes, and in colour if one of them sees colours; the other
    members shrink them, or see them grey, as `data.load` would have done.

    Members of independent labels, or of two classes in one output, are those that end in a sigmoid or were compiled
    with a binary crossentropy. Their ensemble ends in a sigmoid, too: its outputs are the mean probabilities.

    Args:
        members: functional models from images to logits, or probabilities, of the same classes. Their layers are shared
            with the ensemble, not copied, so no two may have layers in common.
        weights: one for each member, from 0 on, with a sum of 1, as `fit_weights` finds them; a member of weight 0 is
            left out. None: all alike.
        mirrors: whether each member also sees the image mirrored left and right, for twice the cost. It helps where a
            mirrored image means the same, and the members were trained on both.
        name: of the model.

    Returns:
        A `convcraft.Model`.

    Raises:
        ValueError: for members that do not fit together, and for weights that are none.

    Example:
        >>> both = Ensemble([zoo.create("plain_cnn", classes=["ant", "bee"]) for _ in range(2)])
        >>> both.output_shape, zoo.class_names(both)
        ((None, 2), ['ant', 'bee'])

    Reference:
        Hansen, Salamon 1990, "Neural Network Ensembles".
    """
    members = listed(members)
    kind = check(members)
    parts = np.full(len(members), 1 / len(members)) if weights is None else _weights(weights, len(members))
    images = keras.Input(image_shape(members), name="images")
    shares = []
    for number, (member, part) in enumerate(zip(members, parts, strict=True), 1):
        if part:
            share = probabilities(member, images, f"member{number}", mirrors, kind)
            # a weight of its own where they differ, so that the file tells what it is
            plain = weights is None or len(members) == 1
            shares.append(share if plain else _scaled(share, float(part), f"member{number}_weight"))
    combine = keras.layers.Average if weights is None else keras.layers.Add
    mean = shares[0] if len(shares) == 1 else combine(dtype="float32")(shares)
    if kind == "multilabel":
        return Model(images, named(_certain(mean), zoo.class_names(members[0])), name=name)
    logits = keras.ops.log(keras.ops.maximum(mean, TINY))
    return Model(images, named(logits, zoo.class_names(members[0])), name=name)


@same_draws()
def column_models(model: keras.Model, data: Any = None) -> list[keras.Model]:
    """The columns of a fractal net as networks of their own, the deepest first, which do not share weights with it.

    A net that was trained with global drop-path holds columns that predict alone, and is itself their ensemble, joined
    within. `zoo.extract_column` gives one without copying it.

    Args:
        model: a functional model with `FractalJoin` layers.
        data: a `training.data.Data`, or an array of training images, on which each column's batch normalization is
            measured anew, for alone it sees other maps than in the whole (`recalibrate`). None: as in the whole.

    Returns:
        A list of models.

    Raises:
        ValueError: where the model has no columns.

    Example:
        >>> nets = column_models(zoo.create("fractalnet20", filters=(4, 4)))
        >>> [net.name for net in nets]
        ['fractalnet20_column0', 'fractalnet20_column1', 'fractalnet20_column2']

    Reference:
        Larsson, Maire, Shakhnarovich 2017, "FractalNet", arXiv 1605.07648, sections 3 and 4.3.
    """
    count = len(zoo.anytime(model).output) - 1
    columns = []
    for number in range(count):
        column = zoo.extract_column(model, number)
        columns.append(keras.models.clone_model(column))
        columns[-1].set_weights(column.get_weights())
        if data is not None:
            recalibrate(columns[-1], data)
    return columns


def listed(models: Any, what: str = "members") -> list[keras.Model]:
    """Models as a list.

    Raises:
        ValueError: for none, and for what is no list of models.
    """
    if isinstance(models, keras.Model | str | dict) or not isinstance(models, Iterable):
        raise ValueError(f"Expected {what} to be a list of models, received {models!r}.")
    found = list(models)
    if not found:
        raise ValueError(f"Expected {what} to be a list of models, received an empty one.")
    return found


def check(members: Sequence[keras.Model]) -> str:
    """Refuses models that cannot be members of one ensemble.

    Returns:
        What the members' outputs are: "softmax" or "multilabel".

    Raises:
        ValueError: saying which does not fit, and why.
    """
    first, kinds = members[0], [_kind(member) for member in members]
    owners: dict[int, int] = {}
    for number, member in enumerate(members, 1):
        if len(getattr(member, "inputs", None) or ()) != 1 or len(member.input_shape) != 4:
            raise ValueError(f"Expected members to be functional models of images, received {member!r}.")
        if len(member.output_shape) != 2:
            raise ValueError(f"Expected members from images to logits, received {member.name}.")
        if member.output_shape[1] == 1 and kinds[0] != "multilabel":
            raise ValueError(
                f"Expected members with an output for each class, received {member.name}, with one output in all, "
                "which neither a sigmoid nor a binary crossentropy makes a probability."
            )
        if member.output_shape != first.output_shape:
            raise ValueError(
                f"Expected members of one output_shape, received {first.output_shape} and {member.output_shape} "
                f"({member.name})."
            )
        if zoo.class_names(member) != zoo.class_names(first):
            raise ValueError(f"Expected members of the same classes, those of {member.name} are others.")
        kind = kinds[number - 1]
        if kind == "regression":
            raise ValueError(f"Expected members that answer with probabilities; {member.name} is for {kind}.")
        if kind != kinds[0]:
            raise ValueError(f"Expected members of one kind, received {kinds[0]} and {kind} ({member.name}).")
        for variable in member.weights:
            if owners.setdefault(id(variable), number) != number:
                raise ValueError(
                    f"Expected members without common layers, for a file holds each once; members "
                    f"{owners[id(variable)]} and {number} ({member.name}) have {variable.path} in common. "
                    "Of the columns of a fractal net, column_models makes copies."
                )
    channels = {member.input_shape[-1] for member in members}
    if not channels <= {1, 3} and len(channels) > 1:
        raise ValueError(f"Expected members of grey and colour images, or all of one kind; received {channels}.")
    return kinds[0]


def image_shape(members: Sequence[keras.Model]) -> tuple[int | None, int | None, int]:
    """(height, width, channels) of the images that all members can be shown: the largest that one of them takes."""
    shapes = [member.input_shape[1:] for member in members]
    sizes = [(height, width) for height, width, _ in shapes if height and width]
    channels = max(shape[-1] for shape in shapes)
    if not sizes:
        return None, None, channels
    return max(height for height, _ in sizes), max(width for _, width in sizes), channels


def probabilities(member: keras.Model, images: Any, name: str, mirrors: bool = False, kind: str = "softmax") -> Any:
    """The symbolic probabilities of a member for images of an ensemble, in float32."""
    net = keras.Model(member.inputs[0], member.outputs[0], name=name)  # a Sequential has no `input`
    logits = heads.find(member, kind).logits
    activation = "softmax" if kind == "softmax" else "sigmoid"
    seen = as_seen_by(member, images)
    shares = []
    for x in [seen, keras.ops.flip(seen, axis=2)] if mirrors else [seen]:
        outputs = net(x)
        shares.append(keras.layers.Activation(activation, dtype="float32")(outputs) if logits else outputs)
    return shares[0] if len(shares) == 1 else keras.layers.Average(dtype="float32")(shares)


def named(logits: Any, names: Sequence[str] | None) -> Any:
    """Logits behind which the names of the classes stand, if there are any."""
    return ClassNames(names, name="class_names")(logits) if names else logits


def as_seen_by(member: keras.Model, images: Any) -> Any:
    """Images as a member takes them: grey or in colour, and of its size."""
    height, width, channels = member.input_shape[1:]
    if channels == 1 and images.shape[-1] == 3:
        images = keras.ops.image.rgb_to_grayscale(images, data_format="channels_last")
    elif channels == 3 and images.shape[-1] == 1:
        images = keras.ops.repeat(images, 3, axis=-1)
    if height is None or tuple(images.shape[1:3]) == (height, width):
        return images
    shrinks = None in images.shape[1:3] or height < images.shape[1] or width < images.shape[2]
    # not the layer Resizing, behind which Keras 3.15 runs batch normalization as in training
    return keras.ops.image.resize(images, (height, width), antialias=shrinks, data_format="channels_last")


def _kind(member: keras.Model) -> str:
    try:
        kind = heads.find(member).kind
        return "multilabel" if kind == "binary" else kind  # averaged alike
    except ValueError:  # nothing tells: the logits of classes, as the contract says
        return "softmax"


def _weights(weights: Any, count: int) -> np.ndarray:
    try:
        found = np.asarray(weights, "float64")
    except (TypeError, ValueError):
        found = np.full(count, np.nan)
    right = found.shape == (count,) and np.isfinite(found).all() and (found >= 0).all()
    if not right or abs(found.sum() - 1) > SUMS:
        raise ValueError(f"Expected weights to be {count} numbers from 0 on with a sum of 1, received {weights!r}.")
    return found / found.sum()


def _certain(mean: Any) -> Any:
    """Mean probabilities of independent labels, as the outputs of a sigmoid, which tells what they are."""
    odds = keras.ops.log(keras.ops.maximum(mean, TINY)) - keras.ops.log(keras.ops.maximum(1 - mean, TINY))
    return keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(odds)


def _scaled(share: Any, weight: float, name: str) -> Any:
    return keras.layers.Rescaling(weight, dtype="float32", name=name)(share)
