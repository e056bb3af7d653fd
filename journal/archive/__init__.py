"""History that the journal no longer keeps: compressed files on a disk, written by a process of its own.

`feed` is the worker's side and `archiver` the other; `wire` is what they say to each other. `files` writes, `scan` and `read`
read; docs/archive-format.md has the format.

Rule. A row is trimmed from the journal only when the archive has said that it holds it, or the operator has chosen to drop
history when the disk is full.
"""
