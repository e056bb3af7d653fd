"""What each sandbox leaves a worker, with and without root's rights."""
