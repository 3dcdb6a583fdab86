"""Training: data, strategies, exact resume, the run and its report."""

from convcraft.lazy import attach

EXPORTS = {
    "Common": "common",
    "Run": "runs",
    "data": None,
    "distribute": None,
    "main": "loop",
    "optimizer": "optimize",
    "report": None,
    "run": "loop",
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
