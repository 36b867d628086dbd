"""From documents to numbers."""
