"""What attackers write where they should not."""

VICTIM_WORD = "untouched"
