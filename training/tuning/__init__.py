"""Fine-tuning: a pretrained network for a person's own photographs. `training.fine_tune` is the way in."""
