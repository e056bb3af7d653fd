"""Results for people: entries as lines, machines and timelines as SVG, the report's page.

Rules. What a guest chose goes through `shown` for a terminal and `escape` for HTML. The page loads nothing and runs no script.

Theory. Everything is drawn from documents and counts that commands have made; no page reads a journal.
"""
