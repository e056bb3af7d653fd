"""Workers that are captured: what they do to keeper and guardian, and what becomes of that."""
