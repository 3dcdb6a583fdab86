"""Training: data, strategies, exact resume, the run and its report."""

from convcraft.lazy import attach

EXPORTS = {
    "Common": "common",
    "CyclicalLR": "schedules",
    "OneCycle": "schedules",
    "OneCycleMomentum": "schedules",
    "Run": "runs",
    "can_mirror": "presets",
    "data": None,
    "distribute": None,
    "exponential_decay": "schedules",
    "export": "exporting",
    "linear_scaled": "schedules",
    "load": "presets",
    "loss": "presets",
    "main": "loop",
    "optimizer": "optimize",
    "report": None,
    "run": "loop",
    "sqrt_scaled": "schedules",
    "step_decay": "schedules",
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
