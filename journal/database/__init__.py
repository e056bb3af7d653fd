"""The SQLite file: its schema, how it is opened, and how its rows are read back into a state.

Rules. sqlite3's result codes are sorted here: those that say nothing of the content are waited for (`transient`), the others
are told as errors of journal/errors.py. A reader of a live journal works on a copy (`read`): it never holds a lock that a
writer would wait for.
"""
