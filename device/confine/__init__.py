"""Confinement: filters of system calls, one for each role of specs/system_calls/, made before there is a second process.

Theory. A filter is laid over those that its maker had, and never goes. So guardian and keeper, who make each other, have the
widest one, from before the first clone; each worker and each archiver lays its own over it. What is refused kills the process:
the keeper counts that as a fault of the worker's own.
"""
