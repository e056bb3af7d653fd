"""The one writer: adds transitions, commits them, and keeps the journal small.

Theory. A commit is one row, whose digest chains over the row before. Checkpoint tables follow the rows record by record, in
steps so small that no request waits for one; rows that they replace are trimmed (or handed to the archive first). So the
state is at any instant the fold of checkpoint and rows (I3), wherever a process dies.
"""
