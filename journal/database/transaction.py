"""Explicit transactions on an autocommit connection: all or nothing, also when SQLite fails at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import Connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE ... COMMIT; a rollback and the same exception when anything raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors (FULL, IOERR): a second ROLLBACK would be an error.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
