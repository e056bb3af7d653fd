"""The tables themselves: machines, structures, the cases of recovery."""
