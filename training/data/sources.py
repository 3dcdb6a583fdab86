"""Data sets by name, and .npz archives."""

import difflib
import os
import pathlib
import zipfile

import numpy as np

from .arrays import read_arrays
from .splits import TEST_SEED, Loaded, stratified

DIGITS_TEST = 360  # images, a fifth
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
    can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
    lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
    pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
    seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
    tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
    worm
"""
FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
CLASS_NAMES = {
    "mnist": [str(digit) for digit in range(10)],
    "fashion_mnist": FASHION.split(","),
    "cifar10": CIFAR10.split(),
    "cifar100": CIFAR100.split(),
}
NAMES = ("digits", *CLASS_NAMES)
# archives of these names that bring none have these classes
KNOWN = {**CLASS_NAMES, "cifar10_jpeg": CLASS_NAMES["cifar10"]}


def locate(source: str | os.PathLike) -> pathlib.Path | str:
    """Returns the path that a name or path stands for, or the name of a set that Keras or scikit-learn has.

    `$CONVCRAFT_DATA/<name>.npz` and the folder `$CONVCRAFT_DATA/<name>/` come first, for every name. Strings
    are names before they are paths; `pathlib.Path("digits")` and "./digits" are paths.

    Raises:
        ValueError: an unknown name, with those that are known and the nearest.
        FileNotFoundError: a path that does not exist.
    """
    name = os.fspath(source)
    folder = os.environ.get("CONVCRAFT_DATA")
    mine = _names_in(folder)
    if name.startswith("hf:"):
        raise ValueError(
            f"Expected a set that is already open, received {name!r}: of dataset.with_format('numpy') from Hugging "
            "Face, pass the arrays (d['image'], d['label'])."
        )
    is_path = isinstance(source, pathlib.Path)
    if folder and name in mine and not is_path:
        archive = pathlib.Path(folder, f"{name}.npz")
        return archive if archive.exists() else pathlib.Path(folder, name)
    if name in NAMES and not is_path:
        return name
    path = pathlib.Path(name).expanduser()
    if path.exists():
        return path
    if is_path or path.suffix or path.name != name:
        raise FileNotFoundError(f"Expected source to be a name or an existing path, received {name!r}: no such path.")
    near = difflib.get_close_matches(name, [*NAMES, *mine], n=1, cutoff=0.5)
    raise ValueError(
        f"Expected source to be an existing path or one of {', '.join(NAMES)}, received {name!r}. "
        + (f"In CONVCRAFT_DATA={folder}: {', '.join(mine) or 'nothing'}. " if folder else "CONVCRAFT_DATA is not set. ")
        + (f"Did you mean {near[0]!r}?" if near else "")
    )


def read_name(name: str, size: tuple[int, int] | None, channels: int | None) -> Loaded:
    """Reads one of `NAMES`: digits from scikit-learn, the others by keras.datasets (cached in ~/.keras)."""
    if name == "digits":
        return _digits(size or (32, 32), channels)
    import keras

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # keras raises a bare Exception when a download fails
        raise FileNotFoundError(
            f"Expected {name!r} in keras's cache or from the network, received {error}. Put {name}.npz "
            "(x_train, y_train, x_test, y_test) into a folder, and set the environment variable "
            "CONVCRAFT_DATA to that folder."
        ) from error
    arrays = {
        "x_train": x_train,
        "y_train": y_train,
        "x_test": x_test,
        "y_test": y_test,
        "names": CLASS_NAMES[name],
    }
    return read_arrays(arrays, size, channels)


def read_npz(path: pathlib.Path, size: tuple[int, int] | None, channels: int | None) -> Loaded:
    """Reads an .npz: `x_train y_train [x_val y_val] [x_test y_test] [names]`, or `x y [names]`.

    Classes without names are called 0, 1, …, but those of the archives in `KNOWN` as everybody calls them.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"Expected an archive of plain arrays in {path}, received {error}. Save labels as integers, or "
            "as strings by np.array(labels, dtype=str)."
        ) from error
    names, labels = KNOWN.get(path.stem, []), arrays.get("y_train", np.zeros(0))
    if "names" not in arrays and labels.dtype.kind in "iu" and labels.size and labels.max() == len(names) - 1:
        arrays["names"] = np.array(names)
    return read_arrays(arrays, size, channels)


def _digits(size: tuple[int, int], channels: int | None) -> Loaded:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[..., None] * (255 / 16)).astype(np.float32)
    labels = digits.target.astype(np.int32)
    rest, test = stratified(labels, DIGITS_TEST, TEST_SEED)
    arrays = {
        "x_train": images[rest],
        "y_train": labels[rest],
        "x_test": images[test],
        "y_test": labels[test],
    }
    loaded = read_arrays({**arrays, "names": [str(digit) for digit in range(10)]}, size, channels)
    loaded.notes.append(f"test: {DIGITS_TEST} images, stratified, the same for every seed")
    return loaded


def _names_in(folder: str | None) -> list[str]:
    if not folder or not os.path.isdir(folder):
        return []
    found = [path for path in pathlib.Path(folder).iterdir() if path.suffix == ".npz" or path.is_dir()]
    return sorted({path.name.removesuffix(".npz") for path in found if not path.name.startswith(".")})
