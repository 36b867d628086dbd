"""Counts of a text that filters by rules look at: words, lines, repetitions."""
