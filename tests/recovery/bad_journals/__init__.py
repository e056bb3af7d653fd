"""The journal's files fail, are full, or were altered."""
