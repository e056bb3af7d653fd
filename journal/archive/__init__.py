"""History that the journal no longer keeps: compressed files on a disk, written by a process of its own.

Rules. A row is trimmed from the journal only when the archive has said that it holds it, or when the operator has chosen to
drop history while the disk is full. The worker never waits for a disk.

Theory. Rows wait in the journal, and nowhere else. `feed` is the worker's side: it decides what to hand over, `waiting`
knows how much that is, and `link` is the socket. `archiver` is the other process; `wire` is what both say. The archive's
end on the disk is the only thing that they must agree on, and each new archiver tells it first. `files` writes, `scan` and
`read` read.

Warning. Either process may die between any two steps. So a row may be handed over twice, and `files` takes it once.

docs/archive-format.md has the format.
"""
