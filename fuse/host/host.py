"""The host as the executor sees it: system calls, credentials, the live tables of inodes, handles and mounts.

A thin face of `fuse._native`. Calls return a number >= 0 or a negative errno; they never raise for what a guest or the
host's file system does. One thread uses a `Host`, the executor's; the native lane reads the same tables from others.

Descriptors. `pin_*` lend a table's descriptor until `let_go`. What `find`, `create`, `reopen`, ... open is the caller's
until it hands it to a table (see `fuse.host.tables`).
"""

import errno
import os
import resource
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from fuse._native import ffi, lib
from fuse.host.found import Found, ScanEntry
from fuse.host.lane_table import OPCODES_MAX, lane_rows
from fuse.host.record_texts import fill
from fuse.host.tables import DIRECTORY, FILE, HandleRecord, HostTables, InodeRecord
from fuse.operation import Operation
from fuse.settings import Settings
from specs.limits import LIMIT

__all__ = ["DIRECTORY", "FILE", "ROOT_NODEID", "Found", "HandleRecord", "Host", "InodeRecord", "ScanEntry"]

ROOT_NODEID = 1
_SCAN_ENTRIES_MAX = 1024
"""More names than this don't come with one READDIRPLUS; the guest asks again. 700 bytes each."""
_READLINK_BYTES_MAX = 4097
_CACHE_MIN_FDS = 64
"""More than all threads pin at a time."""
_FLAGS_BYTES, _FSXATTR_BYTES = 4, 28
_KEEP_NOTHING, _KEEP_DAC_OVERRIDE = 0, 1


def _cache_max_fds() -> int:
    """A quarter of the descriptors that this process may open, so that a guest's open files find room."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return LIMIT["inode_fd_cache_max_fds"]
    return max(_CACHE_MIN_FDS, min(LIMIT["inode_fd_cache_max_fds"], (soft - LIMIT["fds_reserved"]) // 4))


class Ends(Protocol):
    """Something that goes on in the background (see `fuse.recovery.loading`)."""

    def end(self) -> None: ...


class Host(HostTables):
    """Serves `share_fd`, an O_PATH (or read-only) descriptor of the shared directory or file, which stays the caller's.

    `proc_fd`: a directory descriptor of this process's /proc/self/fd, taken over; -1: opened here, before a pivot_root.
    The root (nodeid 1) and its mount are in the tables from the start and outlive sessions. Raises OSError when the
    share or /proc can't be used, ValueError when file handles are mandatory and not to be had.
    """

    def __init__(self, share_fd: int, settings: Settings, proc_fd: int = -1) -> None:
        if proc_fd < 0:
            proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        native = lib.host_new(proc_fd, LIMIT["inodes_max"], settings.handles_max, _cache_max_fds())
        if native == ffi.NULL:
            raise MemoryError("no memory for the tables of inodes and handles")
        texts = ffi.new("struct record_texts *")
        fill(texts)
        lib.host_set_texts(native, texts)
        super().__init__(native, settings.handles == "mandatory")
        self.settings = settings
        self._proc_fd = proc_fd
        self._lane = lib.lane_new(self._h)
        self.pin_inode: Callable[[int], int] = partial(lib.host_pin, native)
        """nodeid -> O_PATH descriptor until `let_go`; -EBADF: no such nodeid, -ESTALE: the file is gone."""
        self._found = ffi.new("struct found *", {"fd": -1})
        self._stat = ffi.new("struct found *", {"fd": -1})
        self._scan: Any = ffi.NULL
        self._entries: list[ScanEntry] = []
        self._scanned = 0
        self._target = ffi.new(f"char[{_READLINK_BYTES_MAX}]")
        self.found = Found(self._found)
        self._open_path: Callable[..., int] = partial(lib.host_open_path, native)
        self._let_go: Callable[..., None] = partial(lib.host_let_go, native)
        self.loading: Ends | None = None
        """What a new worker has not loaded yet; it ends with the session."""
        self.keep_dac = True
        """Whether requests without a supplementary group keep CAP_DAC_OVERRIDE: true unless CREATE_SUPP_GROUP is
        negotiated, for then the guest sends the group that its permission check may have needed."""
        lib.host_settings(self._h, settings.handles != "never", settings.announce_submounts)
        self._set_rows()
        self.root = self._add_root(share_fd)

    def close(self) -> None:
        """The end of the device: closes every descriptor of the tables. No native thread may be at work any more."""
        if self._h != ffi.NULL:
            lib.lane_free(self._lane)
            lib.host_free(self._h)
            self._h = ffi.NULL

    # Sessions and the native lane.

    @property
    def native(self) -> Any:
        """The `struct host *`, for the native executor; valid until `close`."""
        return self._h

    @property
    def lane_ops(self) -> int:
        """Address of struct lane_ops, for the ring side; valid until `close`."""
        return int(lib.lane_ops_address(self._lane))

    def end_session(self) -> None:
        """Empties the tables but for the root and its mount; until `begin_session` the lane refuses all but INIT."""
        lib.lane_set_ready(self._lane, False)
        if self.loading is not None:
            self.loading.end()
        lib.table_clear(self._h, ROOT_NODEID, self.root.mnt_id)

    def begin_session(self, writeback: bool | None = None) -> None:
        """Empties the tables as `end_session` and opens the lane. `writeback`: whether it was negotiated."""
        self.end_session()
        writeback = self.settings.writeback if writeback is None else writeback
        lib.lane_set_config(self._lane, self.settings.timeout_ns, self.settings.readonly, writeback)
        lib.lane_set_ready(self._lane, True)

    def root_gives_way(self) -> None:
        """Takes our own root and mounts out of the tables: a journal's, about to be loaded, name them by its descriptors."""
        self.inode_delete(ROOT_NODEID)
        lib.table_mount_remove(self._h, self.root.mnt_id)
        self.settle()

    def resume_session(self, writeback: bool) -> None:
        """Opens the lane on tables that were loaded from a journal."""
        lib.lane_set_config(self._lane, self.settings.timeout_ns, self.settings.readonly, writeback)
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

    # Pins.

    def pin_file(self, op: Operation, fh: int) -> int:
        """Descriptor of an open file until `let_go`; EBADF: no such fh, or not of the inode op.nodeid."""
        return int(lib.host_pin_handle(self._h, fh, op.nodeid, FILE))

    def pin_directory(self, op: Operation, fh: int) -> int:
        """Descriptor of an open directory until `let_go`; errors as `pin_file`."""
        return int(lib.host_pin_handle(self._h, fh, op.nodeid, DIRECTORY))

    def let_go(self, op: Operation) -> None:
        """The end of a request: unpins all, closes op.file and what was found and not taken over by a table."""
        self._let_go(self._found, self._scan, self._scanned)
        self._scanned = 0
        if op.file >= 0:
            lib.host_close(op.file)
            op.file = -1

    # Finding. `found` holds what was found last.

    @property
    def found_fd(self) -> int:
        """O_PATH descriptor of what was found; -1 once a table took it over."""
        return int(self._found.fd)

    def find(self, dir_fd: int, name: bytes) -> int:
        """Opens a name O_PATH without following it and identifies it; 0 or -errno."""
        if self._found.fd >= 0:
            self.found_drop(self.found)
        fd: int = self._open_path(dir_fd, name, 0, self._found)
        return 0 if fd >= 0 else fd

    def find_file(self, fd: int) -> int:
        """Identifies an open file (which has perhaps no name), by an O_PATH descriptor of its own; 0 or -errno."""
        if self._found.fd >= 0:
            self.found_drop(self.found)
        return min(0, int(lib.host_find_file(self._h, fd, self._found)))

    def found_drop(self, found: Found) -> None:
        """Closes the descriptor of what was found."""
        if found.c.fd >= 0:
            lib.host_close(found.c.fd)
            found.c.fd = -1

    def found_again(self, fd: int) -> int:
        """What was found has changed since (a truncation): takes its attributes anew, from an open file; 0 or -errno."""
        error, attr = self.attributes(fd)
        if error == 0:
            ffi.memmove(ffi.addressof(self._found, "attr"), attr, len(attr))
        return error

    def attributes(self, fd: int) -> tuple[int, bytes]:
        """(0, struct fuse_attr) or (-errno, b"")."""
        error = lib.host_stat(self._h, fd, self._stat)
        return (0, bytes(ffi.buffer(ffi.addressof(self._stat, "attr")))) if error == 0 else (int(error), b"")

    def stat(self, fd: int) -> tuple[int, Found]:
        """(0 or -errno, attributes and identity of a descriptor of any kind; without descriptor and handle)."""
        return int(lib.host_stat(self._h, fd, self._stat)), Found(self._stat)

    def scan(self, fh: int, offset: int, size: int) -> int:
        """Entries of a directory from `offset` that fit in `size` bytes of fuse_direntplus; each is opened.

        Returns how many (see `entry`), 0 at the end; EINVAL when not even one fits.
        """
        if not self._scan:
            self._scan = ffi.new("struct scan_entry[]", _SCAN_ENTRIES_MAX)
            self._entries = [ScanEntry(self._scan[i]) for i in range(_SCAN_ENTRIES_MAX)]
        # Descriptors of handle inodes are kept too: the cache of the table may have room for them.
        count = lib.host_scan(self._h, fh, offset, size, True, self._scan, _SCAN_ENTRIES_MAX)
        self._scanned = max(count, 0)
        return int(count)

    def entry(self, index: int) -> ScanEntry:
        """Entry `index` of the last scan."""
        return self._entries[index]

    def entries(self, count: int) -> list[ScanEntry]:
        """The first `count` entries of the last scan."""
        return self._entries[:count]

    def entry_name(self, index: int) -> bytes:
        """Name of entry `index` of the last scan."""
        return self._entries[index].name

    # Opening and making. Descriptors that these return are the caller's.

    def reopen(self, fd: int, flags: int, kill: bool = False) -> int:
        """Opens a regular file or directory anew; other types: ENXIO, symlinks: ELOOP. `kill`: set-id bits go."""
        if not kill:
            return int(lib.host_reopen(self._h, fd, flags))
        return self._killing(lib.host_reopen, fd, flags)

    def reopen_as_it_is(self, fd: int, flags: int) -> int:
        """As `reopen`, without O_TRUNC, whatever `flags` say."""
        return int(lib.host_reopen(self._h, fd, flags & ~os.O_TRUNC))

    def create(self, dir_fd: int, name: bytes, flags: int, mode: int) -> int:
        """O_CREAT | O_EXCL."""
        return int(lib.host_create(self._h, dir_fd, name, flags, mode))

    def tmpfile(self, dir_fd: int, flags: int, mode: int) -> int:
        """A file without a name, which LINK may give one."""
        return int(lib.host_tmpfile(self._h, dir_fd, flags, mode))

    def mkdir(self, dir_fd: int, name: bytes, mode: int) -> int:
        """mkdirat(2)."""
        return int(lib.host_mkdir(self._h, dir_fd, name, mode))

    def mknod(self, dir_fd: int, name: bytes, mode: int, rdev: int) -> int:
        """mknodat(2); `mode` with type bits, `rdev` in the kernel's 32-bit form."""
        return int(lib.host_mknod(self._h, dir_fd, name, mode, rdev))

    def symlink(self, target: bytes, dir_fd: int, name: bytes) -> int:
        """symlinkat(2)."""
        return int(lib.host_symlink(self._h, target, dir_fd, name))

    def link(self, fd: int, dir_fd: int, name: bytes) -> int:
        """A further name for the file behind an O_PATH descriptor."""
        return int(lib.host_link(self._h, fd, dir_fd, name))

    def unlink(self, dir_fd: int, name: bytes, is_dir: bool) -> int:
        """unlinkat(2)."""
        return int(lib.host_unlink(self._h, dir_fd, name, is_dir))

    def rename(self, old_dir: int, old_name: bytes, new_dir: int, new_name: bytes, flags: int) -> int:
        """renameat2(2)."""
        return int(lib.host_rename(self._h, old_dir, old_name, new_dir, new_name, flags))

    def readlink(self, fd: int) -> tuple[int, bytes]:
        """(0, target) or (-errno, b"")."""
        size = lib.host_readlink(self._h, fd, self._target, _READLINK_BYTES_MAX)
        return (0, bytes(ffi.buffer(self._target, size))) if size >= 0 else (int(size), b"")

    # Changing.

    def chmod(self, fd: int, mode: int) -> int:
        """Permission bits, of an O_PATH descriptor."""
        return int(lib.host_chmod(self._h, fd, mode))

    def chown(self, fd: int, uid: int, gid: int) -> int:
        """0xffffffff: unchanged."""
        return int(lib.host_chown(self._h, fd, uid, gid))

    def truncate(self, fd: int, open_fd: int, size: int, kill: bool = False) -> int:
        """By the open file `open_fd`, or, when that is < 0, by the O_PATH descriptor. `kill`: drop set-id bits."""
        call = lib.host_ftruncate if open_fd >= 0 else lib.host_truncate
        which = open_fd if open_fd >= 0 else fd
        if not kill:
            return int(call(self._h, which, size))
        return self._killing(call, which, size)

    def utimens(self, fd: int, atime: int, atime_nsec: int, mtime: int, mtime_nsec: int) -> int:
        """Seconds and nanoseconds; nanoseconds may be UTIME_NOW or UTIME_OMIT."""
        return int(lib.host_utimens(self._h, fd, atime, atime_nsec, mtime, mtime_nsec))

    def setxattr(self, fd: int, name: bytes, value: bytes, flags: int) -> int:
        """Of any file type, by O_PATH descriptor."""
        return int(lib.host_setxattr(self._h, fd, name, value, len(value), flags))

    def removexattr(self, fd: int, name: bytes) -> int:
        """Of any file type, by O_PATH descriptor."""
        return int(lib.host_removexattr(self._h, fd, name))

    def getxattr(self, fd: int, name: bytes) -> tuple[int, bytes]:
        """(0, value) or (-errno, b"")."""
        return self._sized(lambda room, size: lib.host_getxattr(self._h, fd, name, room, size))

    def listxattr(self, fd: int) -> tuple[int, bytes]:
        """(0, names, each ended by NUL) or (-errno, b"")."""
        return self._sized(lambda room, size: lib.host_listxattr(self._h, fd, room, size))

    def ioctl_get(self, fd: int, size: int) -> tuple[int, bytes]:
        """Of an open file: 4 bytes of FS_IOC_GETFLAGS, or 28 of FS_IOC_FSGETXATTR; (0, bytes) or (-errno, b"")."""
        out = ffi.new(f"uint8_t[{_FSXATTR_BYTES}]")
        if size == _FSXATTR_BYTES:
            error = lib.host_get_fsxattr(self._h, fd, out)
        else:
            error = lib.host_get_flags(self._h, fd, ffi.cast("uint32_t *", out))
        return (0, bytes(ffi.buffer(out, size))) if error >= 0 else (int(error), b"")

    def ioctl_set(self, fd: int, data: bytes) -> int:
        """FS_IOC_SETFLAGS with 4 bytes, FS_IOC_FSSETXATTR with 28."""
        if len(data) == _FSXATTR_BYTES:
            return int(lib.host_set_fsxattr(self._h, fd, data))
        return int(lib.host_set_flags(self._h, fd, int.from_bytes(data[:_FLAGS_BYTES], "little")))

    # Credentials of this thread.

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
        error = lib.host_identify(self._h, fd, self._found)
        if error < 0:
            os.close(fd)
            self.close()
            raise OSError(-error, os.strerror(-error))
        self.mount_meet(self.found)
        error = self.inode_add(ROOT_NODEID, self.found, nlookup=2)
        if error == -errno.EOPNOTSUPP:
            os.close(fd)
            self.close()
            raise ValueError("the share's file system gives no file handles, or CAP_DAC_READ_SEARCH is missing")
        record = self.inode_record(ROOT_NODEID)
        if error < 0 or record is None:
            raise OSError(-error, os.strerror(-error))
        return record

    def _set_rows(self) -> None:
        row = ffi.new("struct lane_row *")
        for opcode, values in lane_rows(self.settings, lib.lane_op_by_name):
            row.kind, row.op, row.error, row.in_min, row.head_bytes, row.flags = values
            if lib.lane_set_row(self._lane, opcode, row) < 0:
                raise ValueError(f"the native lane doesn't take the row of opcode {opcode}: {values}")

    def _killing(self, call: Callable[..., int], fd: int, arg: int) -> int:
        """A call that takes away set-id bits as if the caller had no CAP_FSETID."""
        error = lib.killpriv_begin(fd)
        if error < 0:
            return int(error)
        try:
            return int(call(self._h, fd, arg))
        finally:
            lib.killpriv_end()

    def _sized(self, call: Any) -> tuple[int, bytes]:
        """Asks for the size first; ERANGE when it grew in between, which the caller may see as any error."""
        size = call(ffi.NULL, 0)
        if size > 0:
            room = ffi.new("uint8_t[]", size)
            size = call(room, size)
            if size >= 0:
                return 0, bytes(ffi.buffer(room, size))
        return (0, b"") if size == 0 else (int(size), b"")
