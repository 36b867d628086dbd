"""What a person looks at: the HTML report and the tables at the end of a run.

Everything is drawn from one dict (`model.Metrics`, `metrics.json`); nothing here reads the pool or
the table, and nothing is measured here.
"""
