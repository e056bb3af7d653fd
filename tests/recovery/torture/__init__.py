"""Many actors at once, each with an exact model of what is its own, while workers are killed at random."""
