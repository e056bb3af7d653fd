"""How a FUSE session begins and ends: INIT, DESTROY, a device reset, a new life of the daemon.

Each end clears the tables of inodes, handles and mounts. The commit comes before the clearing: until it is done the
journal names the descriptors that the clearing closes.
"""

import json
from binascii import b2a_base64
from collections.abc import Callable
from typing import Any, Protocol

from fuse.host.host import Host
from fuse.offer import Offer
from fuse.session.record import finished, inode_put, inode_record_text, mount_put
from fuse.session.state import ABSENT_SESSION, FileState
from fuse.wire import FUSE_ROOT_ID
from machine.step import compile_step
from specs.limits import LIMIT
from specs.session import SESSION
from specs.tables import HANDLE, INODE, MOUNT

CLEARED = (INODE.name, HANDLE.name, MOUNT.name)


class TakesTransitions(Protocol):
    """What the file side needs of a journal (see `journal.writer.writer`)."""

    def add(self, text: str, machine: str, key: int, kind: int = 0) -> None: ...
    def add_clear(self, table: str) -> None: ...
    def kind(self, machine: str, event: str, op: str = "") -> int: ...


class Lifecycle:
    """Ends and begins sessions on the live tables of `host`. `commit` writes all that `journal` has taken so far."""

    def __init__(
        self,
        host: Host,
        state: FileState,
        journal: TakesTransitions,
        commit: Callable[[], object],
    ) -> None:
        self._host = host
        self._state = state
        self._journal = journal
        self._commit = commit
        self._step = compile_step(SESSION)

    def start(self) -> None:
        """The daemon's new life: no session, nothing known. An earlier life's records end here."""
        self._state.record = {**ABSENT_SESSION, "epoch": self._state.record["epoch"]}
        if self._state.session == "none":
            effects = [["put", "session", 0, {**self._state.record, "state": "fresh"}]]
            self._transition("start", effects, "null")
            self._finish("fresh")
        else:
            self.end("start")

    def reset(self) -> None:
        """The device was reset or the front-end went away."""
        if self._state.session != "none":
            self.end("reset")

    def end(self, event: str, request: str = "null") -> None:
        """`event` of the session machine ends the session, if its row says so: a guest may leave that has not begun."""
        self._state.record = {**ABSENT_SESSION, "epoch": self._state.record["epoch"]}
        ends = bool(self._step(self._state.session, event).effects)
        effects: list[list[Any]] = [["set", "session", 0, self._state.record]] if ends else []
        if ends:
            effects += [["clear", table] for table in CLEARED]
        self._transition(event, effects, "null", request)
        if ends:
            self._finish("fresh")

    def begin(self, event: str, offer: Offer, request: str, request_number: str, reply: bytes) -> None:
        """`event` ends an earlier session, and begins the next epoch with nothing but the root."""
        self._state.record = {
            "epoch": self._state.record["epoch"] + 1,
            "major": offer.major,
            "minor": offer.minor,
            "flags": offer.flags,
            "max_write": LIMIT["max_write_bytes"],
            "max_readahead": offer.max_readahead,
            "readdirplus": offer.has("DO_READDIRPLUS"),
            "writeback": offer.has("WRITEBACK_CACHE"),
        }
        effects: list[list[Any]] = [["set", "session", 0, self._state.record]]
        effects += [["clear", table] for table in CLEARED]
        self._transition(event, effects, f'"{b2a_base64(reply, newline=False).decode()}"', request)
        self._root(request_number)
        self._finish("ready")

    def _transition(self, event: str, effects: list[list[Any]], reply: str, request: str = "null") -> None:
        source = self._state.session
        dest = self._step(source, event).dest
        body = json.dumps(effects, sort_keys=True, separators=(",", ":"))
        self._journal.add(f'["session",0,"{event}","{source}","{dest}",{request},{body},{reply}]', "session", 0)
        if any(effect[0] == "clear" for effect in effects):
            for table in CLEARED:
                self._journal.add_clear(table)

    def _finish(self, dest: str) -> None:
        """The commit comes first: the live tables may only forget what the journal says is gone."""
        self._commit()
        self._state.session = dest
        if dest == "ready":
            self._host.keep_dac = not self._state.has("CREATE_SUPP_GROUP")
            self._host.begin_session(self._state.record["writeback"])
        else:
            self._host.end_session()

    def _root(self, request: str) -> None:
        """The root is live from the start of a session; no FORGET removes it."""
        root = self._host.inodes.record(FUSE_ROOT_ID)  # after a recovery an earlier worker's, by its descriptor
        assert root is not None
        mount_fd = self._host.mounts.fd(root.mnt_id)
        if mount_fd >= 0:
            self._journal.add(finished(mount_put(root.mnt_id, mount_fd, request), b""), MOUNT.name, root.mnt_id)
        text = inode_put(FUSE_ROOT_ID, request, inode_record_text(root))
        self._journal.add(finished(text, b""), INODE.name, FUSE_ROOT_ID)
