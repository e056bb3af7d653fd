"""Every result code of SQLite has a verdict: whether it says something of the journal's content, or is waited for."""

import sqlite3
from pathlib import Path

import pytest

from journal.database.transient import EXTENDED, PRIMARY, is_transient, journal_error
from journal.errors import JournalFailed, JournalFull, JournalUnreachable

PREFIX = "SQLITE_"
ACTIONS = {
    *("DENY", "IGNORE", "DELETE", "INSERT", "PRAGMA", "READ", "SELECT", "TRANSACTION", "UPDATE", "ATTACH", "DETACH"),
    *("ALTER_TABLE", "REINDEX", "ANALYZE", "FUNCTION", "SAVEPOINT", "RECURSIVE"),
}
"""What authorizers are asked about has constants of the same form: https://www.sqlite.org/c3ref/c_alter_table.html"""
OTHERS = ("CREATE_", "DROP_", "LIMIT_", "DBCONFIG_")
WAITED_FOR = {
    *("PERM", "ABORT", "BUSY", "LOCKED", "NOMEM", "READONLY", "INTERRUPT", "IOERR", "FULL", "CANTOPEN", "PROTOCOL", "NOLFS"),
    "AUTH",
}
EXTENDED_BITS = 8


def codes() -> dict[str, int]:
    """Result codes that the module knows."""
    names = {name: name.removeprefix(PREFIX) for name in dir(sqlite3) if name.startswith(PREFIX)}
    ours = (name for name, short in names.items() if short not in ACTIONS and not short.startswith(OTHERS))
    return {name: getattr(sqlite3, name) for name in ours}


def failure(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    return error


def test_every_result_code_of_sqlite_has_a_verdict() -> None:
    known = codes()
    primary = {known[code.name] for code in PRIMARY if code.name in known}
    assert {name for name, code in known.items() if code & 0xFF not in primary} == set()
    assert len({code.name for code in (*PRIMARY, *EXTENDED)}) == len(PRIMARY) + len(EXTENDED)
    assert all(code.why for code in (*PRIMARY, *EXTENDED))
    assert all(known[code.name] >> EXTENDED_BITS for code in EXTENDED)


@pytest.mark.parametrize("name", sorted(codes()))
def test_what_says_nothing_of_the_content_is_waited_for(name: str) -> None:
    own = next((code for code in EXTENDED if code.name == name), None)
    waited = name.removeprefix(PREFIX).split("_", maxsplit=1)[0] in WAITED_FOR if own is None else not own.content
    error = failure(codes()[name])
    assert is_transient(error) == waited
    told = journal_error(Path("journal.db"), error)
    assert isinstance(told, (JournalFull, JournalUnreachable)) == waited
    assert waited or isinstance(told, JournalFailed)


def test_a_code_that_nobody_knows_is_no_reason_to_wait() -> None:
    assert not is_transient(failure(200))
    assert not is_transient(ValueError())
