"""Training: data, strategies, exact resume, the run and its report."""

from convcraft.lazy import attach

EXPORTS = {
    "Common": "common",
    "CyclicalLR": "schedules",
    "FineTuned": "fine_tuning",
    "FineTuning": "fine_tuning",
    "OneCycle": "schedules",
    "OneCycleMomentum": "schedules",
    "Run": "runs",
    "balance": "balancing",
    "can_mirror": "presets",
    "class_weights": "balancing",
    "data": None,
    "distribute": None,
    "exponential_decay": "schedules",
    "export": "exporting",
    "find_lr": "lr_finder",
    "fine_tune": "fine_tuning",
    "linear_scaled": "schedules",
    "load": "presets",
    "loss": "presets",
    "main": "loop",
    "optimizer": "optimize",
    "report": None,
    "run": "loop",
    "sqrt_scaled": "schedules",
    "step_decay": "schedules",
    "suggest_size": "fine_tuning",
    "verify": "verifying",
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
