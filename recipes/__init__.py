"""Recipes: one file each, to run by name, or to copy and change (`convcraft copy NAME my.py`)."""

from convcraft.lazy import attach

EXPORTS: dict[str, str | None] = {"resnet20_cifar10": None, "squeezenet_digits": None}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
