"""A whole `Worker` inside the test: the real wiring, without its loop; the front-end's messages and the guest's requests
are handed in by calls, so that a test can stop at any moment and compare."""

import os
from pathlib import Path
from typing import Any

from device.options.parsing import Options
from device.processes.promotion import Promotion
from device.processes.relay import make_pair
from device.processes.shared_page import make_page
from device.sandbox.place import Place
from device.vhost.session import Reply
from device.vhost.wire import Frame, encode_body
from device.worker.main import Worker
from device.worker.parts import prepare
from device.worker.prepared import Prepared
from fuse.session.record import handle_fields, inode_fields, mount_fields
from journal import Hold, Limits
from journal.database.load import transitions
from machine.fold import Records, Transition
from specs.machines import JOURNALED
from specs.vhost.messages import MESSAGES
from tests.models.journal_reader import folded

ABSENT = {table.name: table.absent for table in JOURNALED}
QUEUES = 3
EAGER = Limits(
    transitions_between_checkpoints=60,
    keys_per_step=3,
    transitions_trimmed_per_step=7,
    growth_factor=1,
    pages_free_max=4,
    pages_freed_per_step=1,
)
"""So small that checkpoints begin, go on and trim history all the time."""
_CODES = {row.name: row for row in MESSAGES}


class WorkerLife:
    """One life of a worker on `directory` (journal) and `share`; `end` is its end, as after a SIGTERM."""

    def __init__(self, directory: Path, share: Path, **options: Any) -> None:
        self.hold = Hold.take(directory, True)
        self.relay = make_pair()
        chosen = Options(
            shared_dir=share,
            journal_dir=directory,
            journal_on_disk=True,
            fd=0,
            request_queues=QUEUES - 1,
            poll_ns_max=0,
            **{"inode_file_handles": "prefer", **options},
        )
        self.page = make_page()
        promotion = Promotion(self.page, 1, self.relay[1], frozenset(), ())
        place = Place(share, directory, -1, os.getpid())
        self.worker = Worker(chosen, self.hold, promotion, Prepared(chosen, place), prepare(chosen), None)
        self.worker.start()

    def end(self) -> None:
        """Lets go of everything; what was not committed is lost."""
        self.worker.close()
        for fd in self.page.fixed_fds():
            os.close(fd)
        for end in self.relay:
            end.close()
        self.hold.release()

    def commit(self) -> None:
        """The end of a batch, as the state lane has it."""
        self.worker.lane.commit_or_hold()
        self.worker.prepared.host.settle()

    def send(self, name: str, fds: tuple[int, ...] = (), **fields: Any) -> Reply:
        """One message of the front-end; the reply's descriptors are closed."""
        row = _CODES[name]
        reply = self.worker.control.handle(Frame(row.code, False, encode_body(row.body, fields)), fds)
        for fd in reply.fds:
            os.close(fd)
        return reply

    def live(self, mounts: set[int]) -> Records:
        """All records as the tables have them now, not as anything written says; `mounts`: where else to look for some."""
        worker = self.worker
        records: Records = {name: dict(rows) for name, rows in worker.control.session.records.items()}
        session = worker.prepared.executor.record_of("session", 0)
        records["session"] = {} if session is None else {0: session}
        ready = worker.prepared.executor.state.session == "ready"
        records["inode"] = {r.nodeid: inode_fields(r) for r in worker.prepared.host.inodes.records()} if ready else {}
        records["handle"] = {r.fh: handle_fields(r) for r in worker.prepared.host.handles.records()} if ready else {}
        mounts = mounts | mount_ids() | {record["mnt"] for record in records["inode"].values()}
        fds = {mount: worker.prepared.host.mounts.fd(mount) for mount in mounts if ready}
        records["mount"] = {mount: mount_fields(fd) for mount, fd in fds.items() if fd >= 0}
        return records

    def by_source(self, records: Records) -> Records:
        """The same records, each asked for one by one, as the checkpoint does."""
        found: Records = {}
        for table, rows in records.items():
            asked = {key: self.worker.recorder.record_of(table, key) for key in rows}
            found[table] = {key: record for key, record in asked.items() if record is not None}
        return found

    def fold(self) -> Records:
        """All records as checkpoint and journal tell them."""
        return folded(self._database, ABSENT).records

    def rows(self) -> list[Transition]:
        """All transitions that the journal still holds, oldest first."""
        select = "SELECT seq, first, last, time_ns, body, digest FROM commits ORDER BY seq"
        return [transition for row in self._database.execute(select) for _, transition in transitions(row)]

    @property
    def _database(self) -> Any:
        """The writer's own connection: it holds the database exclusively."""
        return self.worker.journal._connection


def mount_ids() -> set[int]:
    """Mounts of this namespace."""
    return {int(line.split()[0]) for line in Path("/proc/self/mountinfo").read_text().splitlines()}
