"""Several models as one: fused scores and features, checkpoints, snapshots, cross-validation."""
