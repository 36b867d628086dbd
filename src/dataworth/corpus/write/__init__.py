"""Documents out: the chosen rows as shards, with a dataset card."""
