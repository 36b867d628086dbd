"""One script a library: what `gradient_peers.py` has each of them do."""
