"""The activations' names, and how Keras comes to know them, and our classes; without importing Keras."""

import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

ACTIVATIONS = (
    "relu",
    "relu6",
    "leaky",
    "very_leaky",
    "prelu",
    "prelu0.1",
    "rrelu",
    "rrelu_paper",
    "elu",
    "selu",
    "gelu",
    "silu",
    "hard_silu",
    "softplus",
    "softplus_log2",
    "sigmoid",
    "tanh",
    "scaled_tanh",
    "maxout",
    "linear",
)
LOSSES = ("BootstrappedCrossentropy", "bootstrapped_crossentropy")
_NUMBERED = re.compile(r"(leaky|prelu|elu)(\d+(?:\.\d*)?|\.\d+)|(maxout)(\d+)")


def parse(name: str) -> tuple[str, float | None] | None:
    """Splits "prelu0.1" into ("prelu", 0.1); None where the name is not of our making.

    Numbers follow leaky and prelu (the slope), elu (alpha) and maxout (how many channels compete, at least 2).
    """
    if name in ACTIVATIONS and name != "prelu0.1":
        return name, None
    match = _NUMBERED.fullmatch(name)
    if match is None:
        return None
    kind, number = match[1] or match[3], float(match[2] or match[4])
    return None if kind == "maxout" and number < 2 else (kind, number)


def pieces(name: str | None) -> int:
    """How many channels compete for each that an activation gives out: 1, but for maxout."""
    kind, number = parse(name or "") or ("", None)
    return int(number or 2) if kind == "maxout" else 1


def near(name: str) -> str:
    """The end of a message on a name that nobody knows: " Did you mean …?", or nothing."""
    found = get_close_matches(name, ACTIVATIONS, 3)
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""


class _Table(dict):
    """A table of Keras's that also finds our names, by making a new object each time: it may have weights or noise."""

    def __init__(self, table: dict[str, Any], make: Callable[[str], Any]):
        super().__init__(table)
        self.make = make

    def get(self, key, default=None):
        """Keras's object, or ours, or `default`."""
        found = super().get(key, default)
        return self.make(key) if found is None and isinstance(key, str) else found


class _Classes(dict):
    """Keras's table of registered classes, which knows ours, too: importing their modules registers them."""

    def __contains__(self, name):
        if not super().__contains__(name) and isinstance(name, str) and name.startswith("convcraft>"):
            register_classes()
        return super().__contains__(name)


def register_classes() -> None:
    """Makes all our classes known to Keras, as in files: each registers itself when its module is imported."""
    for module in filter(None, importlib.import_module("convcraft.layers").EXPORTS.values()):
        importlib.import_module(f"convcraft.layers.{module}")


def _activation(name):
    from .activations import for_keras

    if parse(name) is not None:
        return for_keras(name)
    if hint := near(name):
        raise ValueError(f"Could not interpret activation function identifier: {name}.{hint}")
    return None  # Keras's own error


def _loss(name):
    from .bootstrapped_crossentropy import BootstrappedCrossentropy

    return BootstrappedCrossentropy() if name in LOSSES else None


def tell_keras() -> bool:
    """Makes our names known wherever Keras takes a string, and our classes where it loads a file; returns whether it
    did.

    Keras 3.15 looks activations, losses and classes up in tables that it does not publish. Where a later one keeps
    them elsewhere, a warning says so; objects go wherever names do, and `convcraft.load_model` loads files.
    """
    keras = sys.modules["keras"]
    try:
        for package, make in ((keras.activations, _activation), (keras.losses, _loss)):
            scope = package.get.__globals__
            if not isinstance(scope["ALL_OBJECTS_DICT"], _Table):
                scope["ALL_OBJECTS_DICT"] = _Table(scope["ALL_OBJECTS_DICT"], make)
        scope = keras.saving.get_registered_object.__globals__
        if not isinstance(scope["GLOBAL_CUSTOM_OBJECTS"], _Classes):
            scope["GLOBAL_CUSTOM_OBJECTS"] = _Classes(scope["GLOBAL_CUSTOM_OBJECTS"])
    except (AttributeError, KeyError, TypeError, ValueError):
        warnings.warn(
            f"Keras {getattr(keras, '__version__', '')} does not look names up where convcraft adds its own: in place "
            "of activation='very_leaky' pass convcraft.layers.activation('very_leaky'), and losses as objects; load "
            "files by convcraft.load_model.",
            stacklevel=2,
        )
        return False
    return True


class _WhenKerasComes:
    """Stands first among the finders until Keras is imported, then tells it our names and is gone."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is not None and spec.loader is not None:
            loader, execute = spec.loader, spec.loader.exec_module

            def exec_module(module):
                del loader.exec_module  # back to the class's own
                execute(module)
                tell_keras()

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def tell_keras_when_it_comes() -> None:
    """`tell_keras`, now or as soon as Keras has been imported: this package imports it only when it must."""
    if hasattr(sys.modules.get("keras"), "losses"):  # and not in the middle of being imported
        tell_keras()
    elif not any(isinstance(finder, _WhenKerasComes) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenKerasComes())
