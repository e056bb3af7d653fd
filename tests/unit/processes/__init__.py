"""Spares, the channel to the front-end, the listener."""
