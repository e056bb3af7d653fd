"""SQLite's settings, one function each with its reason. The order in `prepare_writer` matters."""

from sqlite3 import Connection

from journal.limits import Limits

PAGE_BYTES = 4096
"""Smaller pages have shorter WAL frames but more of them; 4096 was the best at 16 transitions a commit."""


def set_page_size(connection: Connection) -> None:
    """Only has an effect while the database is empty."""
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")


def set_incremental_vacuum(connection: Connection) -> None:
    """So that memory taken by a burst can be given back in small steps; must come before the first table."""
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")


def lock_exclusively(connection: Connection) -> None:
    """The WAL index then lives in our heap, without a shared-memory file or locks per commit.

    Must come before the first access in WAL mode.
    """
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")


def use_wal(connection: Connection) -> None:
    """A commit is an append; a torn tail is recognised by its checksums."""
    connection.execute("PRAGMA journal_mode=WAL")


def do_not_sync(connection: Connection) -> None:
    """What was written survives the death of the process, and tmpfs survives nothing else anyway."""
    connection.execute("PRAGMA synchronous=OFF")


def limit_wal(connection: Connection, limits: Limits) -> None:
    """Bounds both the WAL's size and how long the commit takes that writes it back."""
    connection.execute(f"PRAGMA wal_autocheckpoint={limits.wal_pages_between_writebacks}")
    connection.execute(f"PRAGMA journal_size_limit={2 * limits.wal_pages_between_writebacks * PAGE_BYTES}")


def limit_database(connection: Connection, limits: Limits) -> None:
    """Beyond it SQLite says FULL."""
    connection.execute(f"PRAGMA max_page_count={limits.pages_max}")


def distrust_schema(connection: Connection) -> None:
    """A journal that another program made can't call functions with side effects from its schema."""
    connection.execute("PRAGMA trusted_schema=OFF")


def do_not_overwrite_deleted(connection: Connection) -> None:
    """Some builds (Debian's) zero what is deleted, which writes every freed page once more."""
    connection.execute("PRAGMA secure_delete=OFF")


def keep_temporary_in_memory(connection: Connection) -> None:
    """Temporary files would go to /tmp, which in a sandbox is the guest's."""
    connection.execute("PRAGMA temp_store=MEMORY")


def prepare_writer(connection: Connection, limits: Limits) -> None:
    """All settings of the one writer, in the order that they need."""
    keep_temporary_in_memory(connection)
    lock_exclusively(connection)
    set_page_size(connection)
    set_incremental_vacuum(connection)
    use_wal(connection)
    do_not_sync(connection)
    limit_wal(connection, limits)
    limit_database(connection, limits)
    do_not_overwrite_deleted(connection)
    distrust_schema(connection)
