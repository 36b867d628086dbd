"""Comparing ways to select: the same small models trained on each selection, and measured."""
