"""The one writer: adds transitions, commits them, and keeps the journal small.

Rules. A commit is one row, whose digest chains over the row before. Nothing that is pending shows in a checkpoint. A step
of housekeeping is so small that no request waits for it.

Theory. Checkpoint tables follow the rows record by record; rows that they replace are trimmed (or handed to the archive
first). So the state is at any instant the fold of checkpoint and rows (I3), wherever a process dies.

Warning. Opening is on the path of a recovery, while a guest waits: nothing in `opening` may grow with the number of
records.
"""
