"""Random histories of the journal: folded, killed, and with a full disk."""
