"""Training: data, strategies, exact resume, the run and its report."""

from convcraft.lazy import attach

EXPORTS = {
    "Common": "common",
    "CyclicalLR": "schedules",
    "Ensemble": "ensembles",
    "FineTuned": "tuning.tune",
    "FineTuning": "tuning.options",
    "OneCycle": "schedules",
    "OneCycleMomentum": "schedules",
    "Run": "runs",
    "Snapshots": "ensembles",
    "StopAtPerfectTrainAccuracy": "stopping",
    "StopAtTrainAccuracyDrop": "stopping",
    "balance": "balancing",
    "can_mirror": "presets",
    "class_weights": "balancing",
    "data": None,
    "distribute": None,
    "exponential_decay": "schedules",
    "export": "exporting",
    "find_lr": "lr_finder",
    "fine_tune": "tuning.tune",
    "fit_width": "sizing",
    "from_masks": "segmentation",
    "inject_label_noise": "label_noise",
    "linear_scaled": "schedules",
    "load": "presets",
    "load_to_fine_tune": "tuning.options",
    "loss": "presets",
    "measure": "tuning.tune",
    "main": "loop",
    "optimizer": "optimize",
    "report": None,
    "run": "loop",
    "sqrt_scaled": "schedules",
    "step_decay": "schedules",
    "suggest_size": "tuning.options",
    "verify": "verifying",
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
