"""The journal: every transition, committed to SQLite before it is acknowledged; the state is its fold.

Rooms, each knowing only those before it: this one (what writer and readers share), `database` (the SQLite file), `archive`,
`writer`, `audit` (`steadfs-audit`). docs/journal-format.md describes the format.

Rules. One process writes. Whoever reads a live journal reads a copy. The digest of each commit chains over the one before.
"""

from journal.directory import Hold, default_directory, prepare_parent
from journal.encode import encode
from journal.limits import Limits
from journal.writer.writer import Journal

__all__ = ["Hold", "Journal", "Limits", "default_directory", "encode", "prepare_parent"]
