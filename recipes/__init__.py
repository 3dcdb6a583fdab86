"""Recipes: one file each, to run by name, or to copy and change (`convcraft copy NAME my.py`)."""

import pathlib

from convcraft.lazy import attach

# every file beside this one is a recipe
EXPORTS: dict[str, str | None] = {
    path.stem: None for path in sorted(pathlib.Path(__file__).parent.glob("*.py")) if path.stem != "__init__"
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
