"""docs/journal-format.md is enough: a page of plain Python comes to the same verdict."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from specs.tables import FILE_OPENED, FILE_RELEASED, FIRST_ENTRY, HANDLE
from tests.audit.journals import database, rechain, redigest, verdict

VERIFIER = Path(__file__).with_name("independent_verifier.py")
BEGIN, FILE, END = FILE_OPENED.event, FILE_OPENED.dest, FILE_RELEASED.event
ENDS = f'["handle",%d,"{END}"'
LIVE = f'{{"state":"{FIRST_ENTRY.dest}"}}'


def judge(place: Path) -> str:
    """Run as a stranger would: without our packages in reach."""
    command = [sys.executable, "-I", str(VERIFIER), str(place / "journal.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (done.stdout != "whole\n"), done.stderr
    return done.stdout.strip() or done.stderr.strip()


def test_it_imports_nothing_but_what_the_promise_says() -> None:
    tree = ast.parse(VERIFIER.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"sqlite3", "hashlib", "json", "sys"}
    assert {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} == {"typing"}


def test_both_find_a_journal_whole(either: Path) -> None:
    assert judge(either) == "whole"
    assert verdict(either).whole


@pytest.mark.parametrize(
    ("sql", "chained", "says"),
    [
        ("UPDATE commits SET time_ns = time_ns + 1 WHERE seq = 40", False, "commit 40"),
        ("DELETE FROM commits WHERE seq = 40", False, "commit 41"),
        ("UPDATE specs SET json = replace(json, 'ready', 'reedy')", False, "specs"),
        (f'UPDATE commits SET body = replace(body, \'"{END}","{FILE}"\', \'"{BEGIN}","{FILE}"\')', True, "legal"),
        ('UPDATE commits SET body = replace(body, \'"put","handle"\', \'"put","session"\')', True, "effects"),
        (f"UPDATE commits SET body = replace(body, '{ENDS % 1}', '{ENDS % 7}')", True, f"is {HANDLE.absent}"),
        (f"INSERT INTO checkpoint_inode (key, seq, record) VALUES (9, 1000, '{LIVE}')", True, "checkpoint"),
        ("INSERT INTO checkpoint_inode (key, seq, record) VALUES (9, 1, '{}')", False, "as it was written"),
        (f"INSERT INTO counts (machine, event, op, n) VALUES ('inode', '{FIRST_ENTRY.event}', 'LOOKUP', 3)", False, "counted"),
    ],
)
def test_both_find_the_same_wrong(real: Path, sql: str, chained: bool, says: str) -> None:
    with database(real) as db:
        assert db.execute(sql).rowcount > 0
    if chained:
        rechain(real)
        redigest(real)
    assert says in judge(real)
    assert not verdict(real).whole
