"""Frozen tables: what exists, what may happen, what is refused, and where it is written. No code lives here."""
