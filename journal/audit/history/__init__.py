"""What happened: rows as operations with paths and callers, and the state at any moment."""
