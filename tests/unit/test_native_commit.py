"""Commits in C write what the journal's own would, chained by the same digests, and nothing when they fail."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal._native import ffi, lib

from journal import Journal
from journal.chain import GENESIS, Anchor, verify
from journal.errors import JournalFull
from journal.limits import Limits
from journal.native_commit import AVAILABLE, Committer, known
from machine.canonical import canonical_json, digest
from machine.table import Table
from specs import TABLES

ROWS = "SELECT seq, first, last, time_ns, body, digest FROM commits ORDER BY seq"
START = Anchor(0, 0, GENESIS)


def transition(key: int) -> str:
    return f'["handle",{key},"open","absent","live",null,[["put","handle",{key},{{"fd":{key}}}]],null]'
