"""Filters of system calls, run by an interpreter of their programs."""
