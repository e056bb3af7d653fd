"""What is given to others: an archive of the sources, and a wheel."""
