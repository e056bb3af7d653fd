"""The native executor does what the reference executor does."""
