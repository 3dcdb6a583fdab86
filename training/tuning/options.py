"""The options of fine-tuning, and what follows from them."""

import dataclasses
import difflib
import os
import pathlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convcraft.layers import RandomAffine

from .. import balancing, common, data, presets
from . import bodies
from .policies import POLICIES
from .preprocessing import INPUTS

AUGMENT = ("geometric", "light", "standard", "heavy", "modern", "none")
LOSSES = ("crossentropy", "bootstrapped", "bootstrapped_hard")
ENLARGED = 1.5  # at most so many times


@dataclass
class FineTuning(common.Common):
    """The options of fine-tuning; a recipe's `Config` inherits them.

    Example:
        >>> FineTuning(policy="linear").model
        'squeezenet1_1:tinyimagenet80'
    """

    # MODEL:WEIGHTS (resnet18:mine.npz), a .keras file, or a run's directory; squeezenet1_1:imagenet knows more of
    # photographs than the default, and is downloaded
    model: str = "squeezenet1_1:tinyimagenet80"
    # linear, svm, top, deep or scratch; auto measures, chooses and says why
    policy: str = "auto"
    # at most; fewer where they would show more than --views images, but 3
    epochs: int = 30
    # images shown in all epochs together; 0 for as many as --epochs shows
    views: int = 5000
    # here 0 is what suits the model and the images
    image_size: int = 0
    batch_size: int = 32
    optimizer: str = "adamw"
    # of the head; the plan says what other layers get
    learning_rate: float = 5e-4
    schedule: str = "onecycle"
    weight_decay: float = 1e-4
    # of training images: geometric (turns, shifts, zooms, mirrors), light, standard, heavy, modern or none
    augment: str = "geometric"
    # whether a mirrored image means the same; --no-mirror for text, signs, left and right hands
    mirror: bool = True
    # whether the new classifier may begin with what the old one says of these images, where that helps
    lean: bool = True
    # crossentropy; bootstrapped or bootstrapped_hard where some labels are wrong
    loss: str = "crossentropy"
    # none; oversample: small classes more often; crops: the same, by crops of their images; undersample: large ones
    # less often; batches: equally many of each class; weights: small classes count more; two_stage: balanced batches
    # in the last third of the epochs
    balance: str = "none"
    # choose the rate by a range test before training
    find_lr: bool = False
    # share of the training images to hold out and watch; 0 trains on all of them
    validation: float = 0.0
    # what a Keras model without preprocessing of its own was trained on: raw, 0-1, tf, torch or caffe
    preprocessing: str = ""

    # no option here: a model that is loaded has its own
    precision: ClassVar[str] = "float32"  # type: ignore[misc]
    # no option either: the images' shape in a run that is measured again, for its model may have moved since
    settled: ClassVar[tuple[int, ...]] = ()


def augmentation(kind: str, mirror: bool = True) -> Any:
    """What `--augment` stands for, for `training.data.load`."""
    if kind == "none":
        return None
    if kind == "geometric":
        return RandomAffine(rotation=15, zoom=0.15, shift=0.1, flip=mirror).transform
    return data.draws.augmentation(kind, mirror)


def suggest_size(model: str, source: Any) -> int:
    """The image size to fine-tune at: the model's own, or less where the images are much smaller.

    Enlarging images helps a network whose filters know larger things, and costs time with the square; more than half
    again was not seen to pay. Nor does it pay to show a network things at more than twice the size at which it has
    learned to see them.

    Args:
        model: MODEL:WEIGHTS or a path; see `fine_tune`.
        source: of the images: a folder; for anything else the model's size is taken.

    Returns:
        Height and width in pixels, a multiple of 32.

    Example:
        >>> suggest_size("squeezenet1_1:imagenet", "digits"), suggest_size("squeezenet1_1:tinyimagenet80", "digits")
        (224, 128)
    """
    return size_for(model, median_side(source))


def size_for(model: str, side: float) -> int:
    """As `suggest_size`, for images whose shorter side is `side`; 0 where that is not known."""
    height, width, _ = bodies.documented_shape(model)
    full = height or width or 224
    if bodies.fixed_size(model):
        return full
    full = min(full, 2 * bodies.learned_side(model) or full)
    if not side:
        return full
    return int(min(full, max(bodies.SMALLEST, 32 * (ENLARGED * side // 32))))


def median_side(source: Any) -> float:
    """The shorter side of the images of a folder, by a sample of their headers; 0 for anything else."""
    from PIL import Image

    source = data.splits.fold_of(os.fspath(source))[0] if isinstance(source, str | os.PathLike) else source
    folder = data.sources.locate(source) if isinstance(source, str | os.PathLike) else None
    named = pathlib.Path(os.environ.get("CONVCRAFT_DATA") or os.devnull, str(source))
    path = named if isinstance(folder, str) and named.is_dir() else pathlib.Path(str(folder or os.devnull))
    if not path.is_dir():
        return 0.0
    files = sorted(file for file in path.rglob("*") if file.is_file())
    sides = []
    for file in files[:: max(1, len(files) // 200)]:
        try:
            with Image.open(file) as image:
                sides.append(min(image.size))
        except (OSError, ValueError):  # no image; loading will say so
            continue
    return float(np.median(sides)) if sides else 0.0


def check_options(config: FineTuning) -> None:
    """Refuses options that would fail later.

    Raises:
        ValueError: naming the option, what came and what is allowed.
    """
    choices = {"policy": POLICIES, "augment": AUGMENT, "loss": LOSSES, "balance": balancing.KINDS}
    choices["preprocessing"] = ("", *INPUTS)
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            known = ", ".join(filter(None, allowed))
            raise ValueError(f"Expected {name} to be one of {known}; received {getattr(config, name)!r}.")
    if config.views < 0:
        raise ValueError(f"Expected views to be at least 0; received {config.views}.")
    if not 0 <= config.validation < 1:
        raise ValueError(f"Expected validation within 0 to 1; received {config.validation}.")
    if config.preset == "modern" and (config.loss != "crossentropy" or config.augment != "geometric"):
        raise ValueError("Expected preset=modern, which brings augmentation and loss of its own, or augment and loss.")
    common.check(config)


def options_of(source: Any, policy: str | None, config: FineTuning | None, options: dict[str, Any]) -> FineTuning:
    """`fine_tune`'s arguments as options, checked."""
    config = config or FineTuning()
    known = {each.name for each in dataclasses.fields(config)}
    strange = sorted(set(options) - known)
    if strange:
        near = difflib.get_close_matches(strange[0], known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(sorted(known))}."
        raise ValueError(f"fine_tune: there is no option {strange[0]!r}. {hint}")
    name = str(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", "")
    config = dataclasses.replace(config, **{**options, "policy": policy or config.policy, "model": name})
    check_options(config)
    return config


def load_to_fine_tune(config: FineTuning) -> data.Data:
    """The data that `config` names, at the size and with the channels that suit its model, augmented as it says.

    Args:
        config: a `training.FineTuning`.

    Returns:
        A `training.data.Data`.

    Example:
        >>> load_to_fine_tune(FineTuning(data="digits", image_size=64)).image_shape
        (64, 64, 3)
    """
    check_options(config)  # before all images are read
    augment = augmentation(config.augment, config.mirror and presets.can_mirror(config.data))
    height, width, channels = config.settled or bodies.documented_shape(config.model)
    size: Any = (height, width)
    if not config.settled and not bodies.fixed_size(config.model):
        size = bodies.SMALLEST if config.smoke else suggest_size(config.model, config.data)
    sized = dataclasses.replace(config, image_size=config.image_size or size)
    return presets.load(sized, augment, channels=channels, validation=config.validation)
