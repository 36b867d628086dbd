"""The files of a run: the documents table, the survey of the pool, the run's record."""
