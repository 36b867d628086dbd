"""The flow from pool to selection: scoring, choosing, measuring, writing."""
