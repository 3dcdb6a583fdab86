"""Before a run: faults of data and model, and whether a few images can be learned by heart."""
