"""The journal: every transition, committed to SQLite before it is acknowledged; the state is its fold.

`Journal` writes, `load_fold`, `verify_chain` and `summary` (journal.read, journal.summary) read, also while it is
written. docs/journal-format.md describes the format.
"""

from journal.directory import Hold, default_directory
from journal.encode import encode
from journal.limits import Limits
from journal.writer import Journal

__all__ = ["Hold", "Journal", "Limits", "default_directory", "encode"]
