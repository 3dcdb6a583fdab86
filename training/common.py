"""The options that every recipe shares."""

import dataclasses
import importlib.util
import math
import os
import pathlib
from dataclasses import dataclass

OPTIMIZERS = ["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad"]
SCHEDULES = [
    "constant",
    "linear",
    "cosine",
    "step",
    "exponential",
    "onecycle",
    "triangular",
    "triangular2",
    "exp_range",
]
# where keras.datasets keeps what it has downloaded; digits come with scikit-learn
CACHED = {
    "digits": "",
    "cifar10": "cifar-10-batches-py*",
    "cifar100": "cifar-100-python*",
    "mnist": "mnist.npz",
    "fashion_mnist": "fashion-mnist/*",
}
STRATEGIES = ["auto", "mirrored", "multiworker", "none"]
PRESETS = ["recipe", "modern"]
AUTO = "auto"  # as batch size
PRECISIONS = ["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass
class Common:
    """Fields that become command-line options; a recipe's `Config` inherits them and sets its own defaults."""

    # a data set's name, a folder of class folders, a .csv or an .npz file
    data: str = "digits"
    # height and width in pixels; 0 keeps the data's own
    image_size: int = 0
    # passes over the training images
    epochs: int = 10
    # images a step, over all devices together; auto: the default, halved until a step fits in memory
    batch_size: int = 64
    # sgd, momentum, nesterov, adam, adamw, rmsprop or adagrad
    optimizer: str = "momentum"
    # the largest learning rate; it is not scaled with the batch size
    learning_rate: float = 0.05
    # how the rate moves: constant; falling linear, cosine, step (a tenth at 1/2 and 3/4) or exponential (to a
    # hundredth); onecycle (up, then down to nothing); in cycles triangular, triangular2 or exp_range
    schedule: str = "linear"
    # decoupled, and never on biases and normalization
    weight_decay: float = 0.0
    # recipe: its own settings; modern: RandAugment, erasing, MixUp or CutMix, averaged weights, cosine with warm-up
    preset: str = "recipe"
    # of the network's arithmetic: float32, mixed_bfloat16 (faster on GPUs, and on CPUs that know bfloat16) or
    # mixed_float16 (GPUs before Ampere); weights, normalization, loss and probabilities keep float32
    precision: str = "float32"
    # of weights, data order, augmentation and validation split
    seed: int = 0
    # train so many times, with seeds from `seed` on, and report mean and deviation
    seeds: int = 1
    # the run's directory; the same again resumes. Default: runs/RECIPE
    output: str = ""
    # auto, mirrored (all local GPUs), multiworker (TF_CONFIG) or none
    strategy: str = "auto"
    # a few seconds on few images: does it run at all?
    smoke: bool = False
    # look for what would spoil the training before it begins; what is certain to is refused
    check: bool = True
    # minutes after which training stops, after the epoch it is in; 0 for no limit
    time_limit: float = 0.0
    # write events for TensorBoard, too, to `tensorboard` in the run's directory
    tensorboard: bool = False


def check(config: Common) -> None:
    """Refuses values that would fail later, or silently do nothing.

    Raises:
        ValueError: naming the option, what came and what is allowed.
    """
    choices = {
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "strategy": STRATEGIES,
        "preset": PRESETS,
        "precision": PRECISIONS,
    }
    for name, allowed in choices.items():
        value = getattr(config, name)
        if value not in allowed:
            raise ValueError(f"Expected {name} to be one of {', '.join(allowed)}; received {value!r}.")
    for name, least in (
        ("epochs", 1),
        ("seeds", 1),
        ("batch_size", 1),
        ("image_size", 0),
        ("weight_decay", 0),
        ("time_limit", 0),
    ):
        value = getattr(config, name)
        if name == "batch_size" and value == AUTO:
            continue
        if isinstance(value, str) or not value >= least:
            raise ValueError(f"Expected {name} to be at least {least}; received {value!r}.")
    if not 0 < config.learning_rate < float("inf"):
        raise ValueError(f"Expected learning_rate to be positive; received {config.learning_rate}.")
    for field in dataclasses.fields(config):  # a recipe's own, too
        value = getattr(config, field.name)
        if isinstance(value, float) and not math.isfinite(value) and value != field.default:
            raise ValueError(f"Expected {field.name} to be a finite number; received {value}.")
    if config.tensorboard and not importlib.util.find_spec("tensorboard"):
        raise ValueError("tensorboard=True needs the package tensorboard, which is not here: pip install tensorboard.")
    if not 0 <= config.seed < 2**31:
        raise ValueError(f"Expected seed from 0 to 2147483647; received {config.seed}.")


def resolve(config: Common) -> Common:
    """The options as they are used: checked, the data set decided, its path absolute.

    `data` may name several sets, "cifar10 or digits": the first that is on this machine is taken, the last if none
    is, without a download. A smoke run takes the last. Naming a single one downloads it.
    """
    check(config)
    names = [config.data] if pathlib.Path(config.data).exists() else config.data.split(" or ")
    chosen = names[-1] if config.smoke else next((name for name in names if at_hand(name)), names[-1])
    if len(names) > 1 and chosen != names[0]:
        print(f"Training on {chosen}. For {names[0]}, say --data {names[0]}.", flush=True)
    bare = _without_fold(chosen)
    path = pathlib.Path(bare).expanduser()
    if not named(bare) and path.exists():
        chosen = str(path.resolve()) + chosen.removeprefix(bare)
    return dataclasses.replace(config, data=chosen)


def named(name: str) -> bool:
    """Whether `data.load` takes this as a name, and not as a path."""
    return _mine(name) or name in CACHED or name.startswith("tfds:")


def at_hand(name: str) -> bool:
    """Whether a data set can be read without a download."""
    name = _without_fold(name)
    if name.startswith("tfds:"):  # TensorFlow Datasets keeps each set in a folder of its name
        home = os.environ.get("TFDS_DATA_DIR") or pathlib.Path.home() / "tensorflow_datasets"
        return pathlib.Path(home, name.removeprefix("tfds:").split(":")[0]).is_dir()
    if not CACHED.get(name):  # no download: a name of the user's own, digits, or a path
        return named(name) or pathlib.Path(name).exists()
    if _mine(name):
        return True
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return any(pathlib.Path(home, "datasets").glob(CACHED[name]))


def _without_fold(name: str) -> str:
    from .data.splits import fold_of

    return str(fold_of(name)[0])


def _mine(name: str) -> bool:
    folder = pathlib.Path(os.environ.get("CONVCRAFT_DATA") or os.devnull)
    return (folder / f"{name}.npz").exists() or (folder / name).is_dir()
