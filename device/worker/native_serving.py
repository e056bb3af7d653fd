"""Wires ring side, file side and journal so that a batch passes through all three in C: the turn of I1 without Python."""

from collections.abc import Callable

from device.rings.requests import Requests
from fuse.executor.native import NativeExecutor
from fuse.recovery.replay import Recovery
from journal import Journal
from journal.live import LivePage
from journal.writer.native_commit import Committer


class NativeServing:
    """For `device.rings.state_lane`. Python keeps what is seldom: what C can't execute, what the journal refuses, tidying."""

    def __init__(
        self, requests: Requests, executor: NativeExecutor, journal: Journal, committer: Committer, live: LivePage,
        loaded: Callable[[], bool],
    ) -> None:  # fmt: skip
        """`live` is told the last numbers given to inodes and handles before each commit, and where the journal ends after
        it: a later worker reads them. It is unmapped after the journal is closed. `loaded`: whether all inodes are."""
        self._executor = executor
        self._journal = journal
        self._committer = committer
        self._requests = requests
        self._loaded = loaded
        committer.tell(live.address("journal_seq"))
        context, function = executor.commit_with(committer.function, committer.address, live.address("last_nodeid"))
        requests.serve_with(context, function)

    def begin(self) -> bool:
        """Whether session and journal allow it now; if so, `serve` must follow."""
        return self._loaded() and self._executor.begin() and self._journal.lend()

    def serve(self, spin_ns: int, enough: int) -> tuple[bool, int, int, int]:
        """See `Requests.serve`. What is executed and not committed is pending in the journal when it returns."""
        served = self._requests.serve(spin_ns, enough)
        self._executor.record()
        return served


def native_serving(
    requests: Requests, executor: NativeExecutor, journal: Journal, live: LivePage, files: Recovery
) -> NativeServing | None:
    """None where this Python's SQLite gives nobody else its connections."""
    if journal.committer is None:
        return None
    # What could not be loaded is found out before each commit, which only Python's does.
    return NativeServing(
        requests, executor, journal, journal.committer, live, lambda: files.loading is None or not files.loading.on
    )
