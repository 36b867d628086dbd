"""The published methods, one file each, and the filters: steps that add columns."""
