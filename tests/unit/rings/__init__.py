"""Vrings, slots and the engine's threads, driven by a guest in memory."""
