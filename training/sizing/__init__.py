"""How large: networks grown, widened or advised within a budget, and the batch that fits into memory."""
