"""What a run leaves on disk: the documents table, the survey of the pool, the run's record."""
