"""`python -m tests.bench`: steadfs and the other virtiofsds, side by side on this machine."""
