"""Which documents helped and harmed a model on some queries."""
