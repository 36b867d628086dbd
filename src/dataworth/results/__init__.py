"""Records of results: each is its own JSON, written once and read by every page.

A run's `metrics.json`, a judgement's `metrics.json`, `comparison.json` and `attribution.json` hold
these; the applications fill them, and `report/` draws from them alone.
"""
