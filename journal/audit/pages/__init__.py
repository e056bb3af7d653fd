"""How it is shown: lines of text, diagrams, and the report's HTML page."""
