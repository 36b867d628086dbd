"""Mixtures: each group's share of a selection, one file each."""
