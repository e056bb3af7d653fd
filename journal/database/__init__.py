"""The SQLite file: its schema, how it is opened, and how its rows are read back into a state.

Rules. sqlite3's result codes are sorted here: failures that say nothing of the content are waited for (`transient`), the others
become errors of journal/errors.py. Each change of the schema is a step of `schema.migrations`, never a statement elsewhere.
A reader of a live journal works on a copy (`read`), so it never holds a lock that a writer would wait for.
"""
