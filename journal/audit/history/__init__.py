"""What happened: rows as operations with paths and callers, and the state at any position.

Rules. Forward only, one pass, and no more memory than the state takes. Nothing here judges: `verdict` does.

Theory. Transitions of one request follow one another in a commit; together they are one entry. Names are learned from requests
and forgotten with their inodes. Where history begins late, the state before it is undone from the checkpoint (`initial_state`).

Warning. Names are bytes that a guest chose. `shown` makes them harmless, once, where they become text.
"""
