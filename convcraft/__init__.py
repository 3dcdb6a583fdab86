"""convcraft: convolutional networks for Keras 3, from the layer to the measured recipe.

Importing this package imports neither Keras nor TensorFlow; its parts load when they are first used:

    convcraft.layers      what Keras lacks: augmentation, activations, losses
    convcraft.zoo         one architecture family a file, all built by the same knobs
    convcraft.training    data, strategies, exact resume, the run report
    convcraft.recipes     one copyable file a recipe
"""

import importlib
import pathlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["Model", "layers", "load_model", "recipes", "training", "zoo"]

if not (pathlib.Path(__file__).parent / "layers").is_dir():
    # A checkout on Windows stores the links to the top-level folders as text files: look for the packages beside us.
    __path__.append(str(pathlib.Path(__file__).resolve().parent.parent))


importlib.import_module("convcraft.layers")  # light, too: it waits for Keras, to make our classes known to it


def __getattr__(name: str) -> Any:
    if name == "Model":
        return importlib.import_module("convcraft.layers").Model
    if name == "load_model":
        return importlib.import_module("convcraft.zoo").load_model
    if name in ("layers", "recipes", "training", "zoo"):
        return importlib.import_module(f"convcraft.{name}")
    raise AttributeError(f"module 'convcraft' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
