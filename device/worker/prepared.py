"""Composition: what a worker has before it is told that it is one, since nothing of it depends on what it will be told.

A spare makes it before the guest waits. `fds` are all descriptors that this opens: the sweep of an earlier worker's must know
them (a test compares them with the process's table).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from device.options.parsing import Options
from device.processes.descriptors import leading_into, table_of
from device.rings.engine import Engine
from device.sandbox.place import Place
from device.sandbox.share import open_share
from device.worker.parts import file_settings
from fuse.executor.native import NativeExecutor
from fuse.executor.reference import Executor
from fuse.host.host import ROOT_NODEID, Host
from fuse.operation import Operation
from fuse.recovery.replay import Recovery
from journal import Journal


class DeferredJournal:
    """Stands for a journal that is opened later. It gives kinds the numbers that the journal will give them."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], int] = {}
        self.add: Callable[..., None] = _too_early
        self.add_batch: Callable[..., None] = _too_early
        self.add_clear: Callable[[str], None] = _too_early
        self.take_back: Callable[..., None] = _too_early

    def kind(self, machine: str, event: str, op: str = "") -> int:
        """As the journal's: counted from 1 in the order in which they are asked for."""
        return self._kinds.setdefault((machine, event, op), 1 + len(self._kinds))

    def opened(self, journal: Journal) -> None:
        """From now on it is this one. It must not have been asked for a kind yet."""
        journal.number_kinds(self._kinds)
        pending = journal.pending
        self.add, self.add_batch, self.add_clear = pending.add, pending.add_batch, pending.add_clear
        self.take_back = journal.take_back


def _too_early(*_arguments: Any, **_named: Any) -> NoReturn:
    raise RuntimeError("there is no journal yet")


class Prepared:
    """Takes `place.proc_fd` over. Raises OperatorError, OSError, ValueError."""

    def __init__(self, options: Options, place: Place) -> None:
        self.settings = file_settings(options)
        self.share_fd = open_share(place.share)
        self._proc_fd = place.proc_fd
        self.host = Host(self.share_fd, self.settings, place.proc_fd)
        self.journal = DeferredJournal()
        self.commit: Callable[[], object] = _too_early
        self.executor = Executor(self.host, self.settings, self.journal, self._commit)
        self.files = Recovery(self.executor)
        self.native = NativeExecutor(self.executor, self.journal)
        self.engine = Engine(
            queues=1 + options.request_queues,
            ops=self.host.lane_ops,
            pool_threads=self.settings.pool_threads,
            poll_ns_max=options.poll_ns_max,
        )
        self.native.requests_at(self.engine.requests.address)
        self.journal_fds: frozenset[int] | None = None
        """See `look_at`; None: that was left out."""

    def _commit(self) -> None:
        self.commit()

    @property
    def proc_fd(self) -> int:
        """Leads to this process' /proc/self/fd."""
        return self._proc_fd

    def look_at(self, journal: Path) -> None:
        """A spare's: which descriptors of the worker that serves now lead to its journal. They stay the same."""
        self.journal_fds = frozenset(leading_into(journal, table_of(self._proc_fd)))

    def fds(self) -> frozenset[int]:
        """All that it has opened."""
        nothing = Operation()
        nothing.file = -1
        root_fd = self.host.pin_inode(ROOT_NODEID)  # the record's, or the one in the cache of those that handles opened
        self.host.let_go(nothing)
        found = (self._proc_fd, self.share_fd, root_fd, self.host.mounts.fd(self.host.root.mnt_id))
        return frozenset(fd for fd in found if fd >= 0) | self.engine.fds()

    def leave(self) -> None:
        """Lets go of it, but for the descriptors in the tables, which are somebody else's, and the tables."""
        os.close(self.share_fd)
        os.close(self._proc_fd)

    def close(self) -> None:
        """When the worker is stopped."""
        self.engine.close()
        self.host.close()
        os.close(self.share_fd)
