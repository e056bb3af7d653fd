"""A checkpoint of inodes that exist nowhere else."""

import sqlite3

from fuse.host.records import InodeRecord
from fuse.session.record import inode_record_text
from journal.database.schema import checkpoint_table, indexed_column
from journal.record_digest import record_digest

FIRST, LAST = 2, 600


def inode(nodeid: int, ino: int = 0) -> InodeRecord:
    return InodeRecord(nodeid, 3, 29, ino or nodeid + 1000, 33, 0o100000, -1, 1, bytes(range(12)))


def table(connection: sqlite3.Connection, records: list[InodeRecord]) -> None:
    """A checkpoint of them."""
    name, columns = checkpoint_table("inode"), (indexed_column("ino"), indexed_column("fd"))
    told = f"key INTEGER PRIMARY KEY, seq INTEGER, digest BLOB, record TEXT, {', '.join(columns)}"
    connection.execute(f"CREATE TABLE {name} ({told})")
    for one in records:
        ino = one.ino - (1 << 64) if one.ino >> 63 else one.ino
        text = inode_record_text(one)
        row = (one.nodeid, 1, record_digest(one.nodeid, 1, text), text, ino)
        connection.execute(f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?, NULL)", row)
