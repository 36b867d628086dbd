"""Engines on which units run, and files written whole or not at all."""
