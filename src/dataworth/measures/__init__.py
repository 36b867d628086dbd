"""Is the selection any good? Measures of it, and statistics of models trained on it."""
