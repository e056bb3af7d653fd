"""The host as the executor sees it: system calls, credentials, the live tables of inodes, handles and mounts.

A thin face of `fuse._native`. Calls return a number >= 0 or a negative errno; they never raise for what a guest or the
host's file system does. One thread uses a `Host`, the executor's; the native lane reads the same tables from others.

Descriptors. `pin_*` lend a table's descriptor until `let_go`. What `looks` and `changes` open is the caller's until
it hands it to a table (see `fuse.host.inodes`).
"""

import errno
import os
import resource
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from fuse._native import ffi, lib
from fuse.host.budget import Budget
from fuse.host.changes import Changes
from fuse.host.found import Found, ScanEntry
from fuse.host.handles import Handles
from fuse.host.inodes import Inodes
from fuse.host.lane_table import OPCODES_MAX, lane_rows
from fuse.host.loader import Loader
from fuse.host.looks import Looks
from fuse.host.mounts import Mounts
from fuse.host.record_texts import fill
from fuse.host.records import DIRECTORY, FILE, HandleRecord, InodeRecord
from fuse.operation import Operation
from fuse.settings import Settings
from machine.crash_points import crash_step
from specs.limits import LIMIT

__all__ = ["DIRECTORY", "FILE", "ROOT_NODEID", "Found", "HandleRecord", "Host", "InodeRecord", "ScanEntry"]

ROOT_NODEID = 1
_CACHE_MIN_FDS = 64
"""More than all threads pin at a time."""
_KEEP_NOTHING, _KEEP_DAC_OVERRIDE = 0, 1


def _cache_max_fds() -> int:
    """A quarter of the descriptors that this process may open, so that a guest's open files find room."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return LIMIT["inode_fd_cache_max_fds"]
    return max(_CACHE_MIN_FDS, min(LIMIT["inode_fd_cache_max_fds"], (soft - LIMIT["fds_reserved"]) // 4))


def _fds_reserved(settings: Settings) -> int:
    """Descriptors that are never the guest's: the main thread, too, is one that has some in hand."""
    threads = settings.pool_threads + LIMIT["request_queues_max"] + 1
    return LIMIT["fds_reserved"] + LIMIT["thread_fds_max"] * threads


class Ends(Protocol):
    """Something that goes on in the background (see `fuse.recovery.loading`)."""

    def end(self) -> None: ...


class Host:
    """Serves `share_fd`, an O_PATH (or read-only) descriptor of the shared directory or file, which stays the caller's.

    `proc_fd`: a directory descriptor of this process's /proc/self/fd, taken over; -1: opened here, before a pivot_root.
    The root (nodeid 1) and its mount are in the tables from the start and outlive sessions. Raises OSError when the
    share or /proc can't be used, ValueError when file handles are mandatory and not to be had.
    """

    def __init__(self, share_fd: int, settings: Settings, proc_fd: int = -1) -> None:
        if proc_fd < 0:
            proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        native = lib.host_new(proc_fd, LIMIT["inodes_max"], settings.handles_max, _cache_max_fds(), _fds_reserved(settings))
        if native == ffi.NULL:
            raise MemoryError("no memory for the tables of inodes and handles")
        texts = ffi.new("struct record_texts *")
        fill(texts)
        lib.host_set_texts(native, texts)
        self._native = native
        self.inodes = Inodes(native, settings.handles == "mandatory")
        self.handles = Handles(native)
        self.mounts = Mounts(native)
        self.budget = Budget(native)
        self.loader = Loader(native)
        self.looks = Looks(native)
        self.changes = Changes(native)
        self.settings = settings
        self._proc_fd = proc_fd
        self._lane = lib.lane_new(self._native)
        self.pin_inode: Callable[[int], int] = partial(lib.host_pin, native)
        """nodeid -> O_PATH descriptor until `let_go`; -EBADF: no such nodeid, -ESTALE: the file is gone."""
        self.loading: Ends | None = None
        """What a new worker has not loaded yet; it ends with the session."""
        self.keep_dac = True
        """Whether requests without a supplementary group keep CAP_DAC_OVERRIDE: true unless CREATE_SUPP_GROUP is
        negotiated, for then the guest sends the group that its permission check may have needed."""
        lib.host_settings(self._native, settings.handles != "never", settings.announce_submounts)
        self._set_rows()
        self.root = self._add_root(share_fd)

    @crash_step("close what was let go of")
    def settle(self) -> None:
        """After each commit: descriptors of deleted inodes and handles are closed."""
        lib.table_settle(self._native)

    def close(self) -> None:
        """The end of the device: closes every descriptor of the tables. No native thread may be at work any more."""
        if self._native != ffi.NULL:
            lib.lane_free(self._lane)
            lib.host_free(self._native)
            self._native = ffi.NULL

    @property
    def native(self) -> Any:
        """The `struct host *`, for the native executor; valid until `close`."""
        return self._native

    @property
    def lane_ops(self) -> int:
        """Address of struct lane_ops, for the ring side; valid until `close`."""
        return int(lib.lane_ops_address(self._lane))

    def end_session(self) -> None:
        """Empties the tables but for the root and its mount; until `begin_session` the lane refuses all but INIT."""
        lib.lane_set_ready(self._lane, False)
        if self.loading is not None:
            self.loading.end()
        lib.table_clear(self._native, ROOT_NODEID, self.root.mnt_id)

    def begin_session(self, writeback: bool | None = None) -> None:
        """Empties the tables as `end_session` and opens the lane. `writeback`: whether it was negotiated."""
        self.end_session()
        writeback = self.settings.writeback if writeback is None else writeback
        self._configure_lane(writeback)

    def root_gives_way(self) -> None:
        """Takes our own root and mounts out of the tables: a journal's, about to be loaded, name them by its descriptors."""
        self.inodes.delete(ROOT_NODEID)
        self.mounts.remove(self.root.mnt_id)
        self.settle()

    def resume_session(self, writeback: bool) -> None:
        """Opens the lane on tables that were loaded from a journal."""
        self._configure_lane(writeback)

    def _configure_lane(self, writeback: bool) -> None:
        settings = self.settings
        lib.lane_set_config(self._lane, settings.timeout_ns, settings.readonly, writeback, settings.allow_direct_io)
        lib.lane_set_ready(self._lane, True)

    def lane_counts(self) -> dict[int, tuple[int, int]]:
        """Per opcode: requests answered by the native lane, errors among them. Opcode 0 stands for all unknown ones."""
        done, errors = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        counts: dict[int, tuple[int, int]] = {}
        for opcode in range(OPCODES_MAX):
            lib.lane_counts(self._lane, opcode, done, errors)
            if done[0]:
                counts[opcode] = (done[0], errors[0])
        return counts

    def pin_file(self, op: Operation, fh: int) -> int:
        """Descriptor of an open file until `let_go`; EBADF: no such fh, or not of the inode op.nodeid."""
        return int(lib.host_pin_handle(self._native, fh, op.nodeid, FILE))

    def pin_directory(self, op: Operation, fh: int) -> int:
        """Descriptor of an open directory until `let_go`; errors as `pin_file`."""
        return int(lib.host_pin_handle(self._native, fh, op.nodeid, DIRECTORY))

    def let_go(self, op: Operation) -> None:
        """The end of a request: unpins all, closes op.file and what was found and not taken over by a table."""
        self.looks.let_go()
        if op.file >= 0:
            lib.host_close(op.file)
            op.file = -1

    def act_as(self, uid: int, gid: int, group: int = -1, umask: int = 0) -> int:
        """Until `act_as_daemon`: owner of what is made, permission checks. `group`: one supplementary group, -1 none.

        No pin and no find in between: opening a file handle needs the daemon's capabilities.
        """
        keep = _KEEP_DAC_OVERRIDE if self.keep_dac and group < 0 else _KEEP_NOTHING
        return int(lib.act_as(uid, gid, group, umask, keep))

    def act_as_daemon(self) -> None:
        """The daemon's own credentials again."""
        lib.act_as_daemon()

    def _add_root(self, share_fd: int) -> InodeRecord:
        fd = os.open(str(share_fd), os.O_PATH | os.O_CLOEXEC, dir_fd=self._proc_fd)
        error = lib.host_identify(self._native, fd, self.looks.found.c)
        if error < 0:
            os.close(fd)
            self.close()
            raise OSError(-error, os.strerror(-error))
        self.mounts.meet(self.looks.found)
        error = self.inodes.add(ROOT_NODEID, self.looks.found, nlookup=2)
        if error == -errno.EOPNOTSUPP:
            os.close(fd)
            self.close()
            raise ValueError("the share's file system gives no file handles, or CAP_DAC_READ_SEARCH is missing")
        record = self.inodes.record(ROOT_NODEID)
        if error < 0 or record is None:
            raise OSError(-error, os.strerror(-error))
        return record

    def _set_rows(self) -> None:
        row = ffi.new("struct lane_row *")
        for opcode, values in lane_rows(self.settings, lib.lane_op_by_name):
            row.kind, row.op, row.error, row.in_min, row.head_bytes, row.flags = values
            if lib.lane_set_row(self._lane, opcode, row) < 0:
                raise ValueError(f"the native lane doesn't take the row of opcode {opcode}: {values}")
