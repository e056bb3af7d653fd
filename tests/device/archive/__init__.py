"""The journal's archive, as a daemon writes it."""
