"""A process dies at every point of every operation, message and round of tidying."""
