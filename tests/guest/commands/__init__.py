"""What `make demo` and `make side-by-side` run."""
