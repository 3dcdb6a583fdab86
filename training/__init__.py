"""Training: data, strategies, exact resume, the run and its report."""

from convcraft.lazy import attach

EXPORTS = {
    "Common": "common",
    "Run": "run",
    "data": None,
    "distribute": None,
    "main": "run",
    "optimizer": "optimize",
    "report": None,
    "run": "run",
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
