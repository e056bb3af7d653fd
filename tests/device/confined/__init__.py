"""Processes of the daemon under their filters of system calls."""
