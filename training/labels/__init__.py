"""Labels that are wrong: planted on purpose, and found."""
