"""Attribution: the documents that helped and harmed a model on some queries."""
