"""Lazy packages: a name is imported from its module when it is first asked for (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def attach(
    package: str, exports: Mapping[str, str | None]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Makes `package` load its public names on demand.

    Args:
        package: the package's `__name__`; it must be imported as `convcraft.…`, since a top-level `layers` or
            `zoo` is what the checkout's folders look like from its root, not a package of their own.
        exports: a dictionary, public name to the module (relative to the package) that defines it; a name that
            stands for the whole module maps to None. (A name may not be its module's: importing the module would
            put the module itself in the name's place.)

    Returns:
        `(__getattr__, __dir__, __all__)` for the package to assign.
    """
    if not package.startswith("convcraft."):
        raise ImportError(f"Expected 'import convcraft.{package}', received 'import {package}'.")

    def __getattr__(name):
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{exports[name] or name}")
        return getattr(module, name) if exports[name] else module

    def __dir__():
        return sorted(exports)

    return __getattr__, __dir__, sorted(exports)
