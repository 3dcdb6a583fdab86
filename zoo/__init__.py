"""The zoo: one architecture family a file, all of them built by the same knobs."""

from convcraft.lazy import attach

from . import index

EXPORTS = {
    "Cost": "costs",
    "Design": "design",
    "Info": "registry",
    "blocks": None,
    "class_names": "registry",
    "cost": "costs",
    "create": "registry",
    "extract_column": "fractalnet",
    "info": "registry",
    "list_models": "index",
    "load_model": "registry",
    "replace_head": "transfer",
    "without_auxiliary": "transfer",
    **index.BUILDERS,
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
