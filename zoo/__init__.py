"""The zoo: one architecture family a file, all of them built by the same knobs."""

from convcraft.lazy import attach

from . import index

EXPORTS = {
    "Cost": "costs",
    "Design": "design",
    "Info": "registry",
    "LoadReport": "weights",
    "anytime": "fractalnet",
    "blocks": None,
    "class_names": "registry",
    "convert": "conversion",
    "cost": "costs",
    "create": "registry",
    "draw": "drawing",
    "embed": "representation",
    "explain": "explanation",
    "extract_column": "fractalnet",
    "feature_levels": "representation",
    "features": "representation",
    "info": "registry",
    "list_models": "index",
    "load_model": "registry",
    "load_weights": "weights",
    "paths": "path_counts",
    "replace_head": "transfer",
    "residual_blocks": "residual_tools",
    "residual_norms": "residual_tools",
    "without_auxiliary": "transfer",
    "without_block": "residual_tools",
    **index.BUILDERS,
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
