"""Where units run, and what a run leaves on disk."""
