"""Reports for people: the HTML pages and the tables at the end of a run.

Everything is drawn from the records of `results/`; nothing here reads the pool or the table, and
nothing is measured here.
"""
