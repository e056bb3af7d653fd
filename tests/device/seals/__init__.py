"""A real daemon whose history is sealed."""
