"""What a daemon can reach on the host, and what a guest can."""
