"""Mechanisms turn the documents table into an order; the cut takes a budget's worth of it."""
