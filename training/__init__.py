"""Training: data, strategies, exact resume, the run and its report."""

from convcraft.lazy import attach

EXPORTS = {
    "Common": "common",
    "CyclicalLR": "schedules",
    "OneCycle": "schedules",
    "OneCycleMomentum": "schedules",
    "Run": "runs",
    "data": None,
    "distribute": None,
    "exponential_decay": "schedules",
    "linear_scaled": "schedules",
    "main": "loop",
    "optimizer": "optimize",
    "report": None,
    "run": "loop",
    "sqrt_scaled": "schedules",
    "step_decay": "schedules",
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
