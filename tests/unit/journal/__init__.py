"""Writer, readers, archive and signed heads."""
