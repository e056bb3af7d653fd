"""One digit of a checkpointed record changes, and stays valid JSON: the next worker tells the state lost, and serves none."""

import os
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from journal.database.schema import checkpoint_table
from tests.device.served import Served, eventually

ROOT = 1
FILES = 400


def rows(journal: Path, copy: Path, table: str) -> list[tuple[int, bytes, str]]:
    """Key, digest and record of each checkpointed one, from a copy of a journal whose writer stands still."""
    copy.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        shutil.copy(journal / name, copy / name)
    with closing(sqlite3.connect(copy / "journal.db")) as connection:
        sql = f"SELECT key, digest, record FROM {checkpoint_table(table)} WHERE key > 1 AND record IS NOT NULL"
        found: list[tuple[int, bytes, str]] = connection.execute(sql).fetchall()
    shutil.rmtree(copy)
    return found


def alter(journal: Path, copy: Path, table: str, field: str) -> int:
    """Another last digit in one record's field, where the row lies in journal.db alone; its key."""
    database, wal = (bytearray((journal / name).read_bytes()) for name in ("journal.db", "journal.db-wal"))
    for key, digest, record in rows(journal, copy, table):
        cell = digest + record.encode()
        number = re.search(rf'"{field}":\d+', record)
        if number is None or database.count(cell) != 1 or cell in wal:
            continue
        at = database.index(cell) + len(digest) + number.end() - 1
        database[at] ^= 1
        (journal / "journal.db").write_bytes(database)
        assert {row[0]: row[2] for row in rows(journal, copy, table)}[key] != record
        return key
    raise AssertionError("no row that is in journal.db alone")


FIELDS = [("inode", "ino"), ("inode", "nlookup"), ("handle", "nodeid"), ("handle", "flags")]


@pytest.mark.parametrize(("table", "field"), FIELDS)
def test_a_changed_digit_is_found_before_it_is_served(served: Served, tmp_path: Path, table: str, field: str) -> None:
    with served.guest() as guest:
        made = [guest.create(ROOT, b"f%d" % number) for number in range(FILES)]
        worker = served.told("worker_pid")
        os.kill(worker, signal.SIGSTOP)
        alter(served.journal, tmp_path / "copy", table, field)
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: served.told("states_lost") == 1)
        assert served.status()["state_lost_why"].startswith("journal")
        for entry, _ in made[:: FILES // 10]:
            with pytest.raises(OSError, match=r"EIO|ESTALE|ENOENT"):
                guest.getattr(entry.nodeid)
        guest.destroy()
        guest.init()
        entry = guest.lookup(ROOT, b"f1")
        assert guest.getattr(entry.nodeid).size == 0
        assert served.told("states_lost") == 1
