"""Live tables and host system calls."""
