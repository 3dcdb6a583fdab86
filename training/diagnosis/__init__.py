"""After and during a run: what each batch tells, and what its numbers say is wrong."""
