"""The pages that outlive keeper and guardian: all that the next one must know. A worker reads some of them and writes one.

A worker may be captured, so which process may do what is decided by its mappings, and once: a new worker calls `confine`
before it does anything else. The parts lie behind one another.

| part | keeper, guardian | worker, spare | what is in it |
| --- | --- | --- | --- |
| `Hidden` | write | nothing is mapped there | pointers and lengths for system calls, messages, numbers, most pids |
| `Told` | write | read; the kernel refuses to make it writable (F_SEAL_FUTURE_WRITE) | what a worker has to know |
| `Said` | write | write | how far a worker is: input for the keeper, looked at once, believed as far as it is checked |

Each field is one aligned word that one store changes, and fields are stored in an order in which a death between any two
of them leaves pages that say what is to be done. There are four kinds of words.

- States (`*_state`) of the machines in specs/machines.py. Only `SharedPage.move` stores them, and it asks the table.
- Data that a state makes valid. It is stored before the state, and means nothing in another one.
- Generations: what was done, and in which worker's time (or keeper's). One store of `generation` takes them all back, as they
  count only while they are equal to it.
- What only the kernel knows at the moment of a death: which bytes and descriptors came, whether an answer went out, whether
  a child was made. The kernel stores it here itself, within the same system call: recvmmsg(2) and sendmmsg(2) store `msg_len`,
  clone(2) the child's pid. A SIGKILL takes effect before or after a system call's work, never between it and that store.

Descriptors that change hands have numbers that never change: what is behind the number is replaced by dup2(2).
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import socket
import time
from collections.abc import Sequence

from device.vhost.wire import BODY_BYTES_MAX, HEADER_BYTES
from machine.errors import Refused
from machine.step import compile_step
from machine.table import Table
from specs.machines import SHARED

# More than any message may carry, so that one that carries too many is refused by name and not by truncation.
FDS_RECEIVED_MAX = 32
FRAME_BYTES_MAX = HEADER_BYTES + BODY_BYTES_MAX
REASON_BYTES_MAX = 128
_CMSG_HEAD_BYTES = socket.CMSG_LEN(0)
_CONTROL_BYTES = socket.CMSG_SPACE(FDS_RECEIVED_MAX * 4)
_MAP_FIXED, _MREMAP_MAYMOVE, _MREMAP_FIXED, _PROT_NONE = 0x10, 1, 2, 0  # Linux: asm-generic/mman-common.h, linux/mman.h
_F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h, since 5.1
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _F_SEAL_FUTURE_WRITE
_STEPS = {table.name: compile_step(table) for table in SHARED}
_WORDS = {table.name: f"{table.name}_state" for table in SHARED}
FIXED_FDS = ("guardian_pidfd", "keeper_pidfd", "worker_pidfd", "spare_pidfd", "front_fd")


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = _libc.mremap.restype = ctypes.c_void_p


def _field_at(kind: type[ctypes.Structure], field: str) -> int:
    return int(getattr(kind, field).offset)


class Mmsghdr(ctypes.Structure):
    """A struct mmsghdr with the struct iovec that it points to (socket.h of Linux and libc, 64 bits), and its control bytes."""

    _fields_ = (
        ("name", ctypes.c_uint64),
        ("name_len", ctypes.c_uint32),
        ("pad0", ctypes.c_uint32),
        ("iov", ctypes.c_uint64),
        ("iov_len", ctypes.c_uint64),
        ("control", ctypes.c_uint64),
        ("control_len", ctypes.c_uint64),
        ("flags", ctypes.c_int32),
        ("pad1", ctypes.c_uint32),
        ("msg_len", ctypes.c_uint32),
        ("pad2", ctypes.c_uint32),
        ("base", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("controls", ctypes.c_ubyte * _CONTROL_BYTES),
    )

    def address(self, base: int, size: int, control_bytes: int) -> None:
        """Where the bytes are or shall be, and how many of `controls` count."""
        here = ctypes.addressof(self)
        self.iov, self.iov_len = here + _field_at(Mmsghdr, "base"), 1
        self.base, self.size = base, size
        self.control = here + _field_at(Mmsghdr, "controls") if control_bytes else 0
        self.control_len = control_bytes
        self.flags = 0

    def fds(self) -> tuple[int, ...]:
        """The descriptors in the control bytes (cmsg(3)): those that the kernel has just installed, or those to be sent."""
        raw = bytes(self.controls[: min(self.control_len, _CONTROL_BYTES)])
        found: list[int] = []
        at = 0
        while at + _CMSG_HEAD_BYTES <= len(raw):
            length = int.from_bytes(raw[at : at + 8], "little")
            level, kind = (int.from_bytes(raw[at + n : at + n + 4], "little") for n in (8, 12))
            if length < _CMSG_HEAD_BYTES:
                break
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                data = raw[at + _CMSG_HEAD_BYTES : at + length]
                found += (int.from_bytes(data[i : i + 4], "little", signed=True) for i in range(0, len(data), 4))
            at += socket.CMSG_SPACE(length - _CMSG_HEAD_BYTES)
        return tuple(found)

    def put_fds(self, fds: Sequence[int]) -> int:
        """Fills the control bytes for sending; how many they are."""
        if not fds:
            return 0
        words = ((socket.CMSG_LEN(4 * len(fds)), 8), (socket.SOL_SOCKET, 4), (socket.SCM_RIGHTS, 4), *((fd, 4) for fd in fds))
        raw = b"".join(value.to_bytes(size, "little") for value, size in words)
        total = socket.CMSG_SPACE(4 * len(fds))
        ctypes.memmove(ctypes.addressof(self) + _field_at(Mmsghdr, "controls"), raw.ljust(total, b"\0"), total)
        return total


class Hidden(ctypes.Structure):
    """Keeper's and guardian's own. Times are of the monotonic clock, in milliseconds; a `code` or `status` is one more than it,
    0: none yet."""

    _fields_ = (
        # where the page lies that a worker gets instead of `Told`
        ("told_view", ctypes.c_uint64),
        # descriptors of fixed number
        ("spare_pidfd", ctypes.c_int64),
        ("front_fd", ctypes.c_int64),
        ("empty_fd", ctypes.c_int64),
        # the exit code, at the end
        ("code", ctypes.c_uint64),
        # the worker's life
        ("generation", ctypes.c_uint64),
        ("worker_pid", ctypes.c_int64),
        ("worker_born_ms", ctypes.c_uint64),
        ("retry_at_ms", ctypes.c_uint64),
        # how long it serves, and how it went with those before; all of it may be off by one after a keeper's death
        ("ready_at_ms", ctypes.c_uint64),
        ("death_counted", ctypes.c_uint64),
        ("faults_in_a_row", ctypes.c_uint64),
        ("oom_kills", ctypes.c_uint64),
        # the generation of a worker that said what none says
        ("distrusted_generation", ctypes.c_uint64),
        # until when a worker should have taken its word
        ("take_by_ms", ctypes.c_uint64),
        ("words_not_taken", ctypes.c_uint64),
        # a worker or a spare that could not be cloned, times in a row
        ("clone_failures", ctypes.c_uint64),
        # what the guardian has reaped for a keeper that is dead: the status is stored first
        ("reaped_status", ctypes.c_uint64),
        ("reaped_pid", ctypes.c_uint64),
        # `spare_pidfd` leads to the process `spare_pidfd_pid`, which was made after `spare_born_ms` of the clock of boot
        ("spare_pidfd_pid", ctypes.c_uint64),
        ("spare_born_ms", ctypes.c_uint64),
        ("spare_deaths", ctypes.c_uint64),
        ("spare_faults", ctypes.c_uint64),
        ("spare_retry_at_ms", ctypes.c_uint64),
        # the front-end, and its event on its way: `kind` is a relay.Kind; and which socket `front_fd` leads to
        ("front_state", ctypes.c_uint64),
        ("front_inode", ctypes.c_uint64),
        ("relay_state", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("kind", ctypes.c_uint64),
        ("answer_flags", ctypes.c_uint64),
        ("reason_bytes", ctypes.c_uint64),
        # a message on its way in: `frame_bytes` are there, and while a call is under way those that it stores at `read_at`
        ("incoming_state", ctypes.c_uint64),
        ("frame_bytes", ctypes.c_uint64),
        ("read_at", ctypes.c_uint64),
        ("head", Mmsghdr),
        ("rest", Mmsghdr),
        ("answer", Mmsghdr),
        ("frame", ctypes.c_ubyte * FRAME_BYTES_MAX),
        ("answer_frame", ctypes.c_ubyte * FRAME_BYTES_MAX),
        ("reason", ctypes.c_ubyte * REASON_BYTES_MAX),
    )


class Told(ctypes.Structure):
    """What workers read."""

    _fields_ = (
        # who is there; pids as the keeper sees them, and descriptors of fixed number
        ("guardian_pidfd", ctypes.c_int64),
        ("keeper_pidfd", ctypes.c_int64),
        ("worker_pidfd", ctypes.c_int64),
        ("guardian_pid", ctypes.c_int64),
        ("keeper_pid", ctypes.c_int64),
        ("keeper_generation", ctypes.c_uint64),
        ("guardian_generation", ctypes.c_uint64),
        ("end_by_ms", ctypes.c_uint64),
        ("worker_state", ctypes.c_uint64),
        # the last worker that was seen ready
        ("served_generation", ctypes.c_uint64),
        ("last_worker_death", ctypes.c_uint64),
        ("death_cause", ctypes.c_uint64),
        ("deaths_in_a_row", ctypes.c_uint64),
        ("back_off_ms", ctypes.c_uint64),
        ("last_keeper_death", ctypes.c_uint64),
        ("watchdog_kills", ctypes.c_uint64),
        # the spare has no state: the kernel makes it by storing `spare_pid` in clone(2)
        ("spare_pid", ctypes.c_int32),
        ("spare_pad", ctypes.c_int32),
        # the generation of the worker whose death was noticed last, and of the keeper that noticed it, which is stored before:
        # until the next worker is ready, that keeper opens and closes no descriptor
        ("death_noticed_by", ctypes.c_uint64),
        ("death_noticed", ctypes.c_uint64),
    )


class Said(ctypes.Structure):
    """What workers write, and any captured one may have written. The keeper clears the first five before each new worker."""

    _fields_ = (
        # a worker stores its generation when it takes the word, when it replays and when it is ready: what a keeper only heard
        # would die with it
        ("taken_generation", ctypes.c_uint64),
        ("replaying_generation", ctypes.c_uint64),
        ("ready_generation", ctypes.c_uint64),
        ("worker_code", ctypes.c_uint64),
        ("progress", ctypes.c_uint64),
        # the spare's own word of itself, for the status page
        ("spare_waits", ctypes.c_uint64),
        # for the next worker, and only looked at by it: what this one has found lost and not dealt with to the end, which could
        # not be found out any more: whether slots are in doubt, and why the journal is lost (journal.live.LOST_WHY)
        ("slots_in_doubt", ctypes.c_uint64),
        ("journal_lost", ctypes.c_uint64),
    )


def _whole_pages(kind: type[ctypes.Structure]) -> int:
    return -(-ctypes.sizeof(kind) // mmap.PAGESIZE) * mmap.PAGESIZE


class SharedPage(ctypes.Structure):
    """The three parts, each in pages of its own; every field may be named as if there were one."""

    _anonymous_ = ("hidden", "told", "said")
    _fields_ = (
        ("hidden", Hidden),
        ("hidden_pad", ctypes.c_ubyte * (_whole_pages(Hidden) - ctypes.sizeof(Hidden))),
        ("told", Told),
        ("told_pad", ctypes.c_ubyte * (_whole_pages(Told) - ctypes.sizeof(Told))),
        ("said", Said),
        ("said_pad", ctypes.c_ubyte * (_whole_pages(Said) - ctypes.sizeof(Said))),
    )

    def confine(self) -> None:
        """In the process of a new worker, and for good: what it may not read is gone, what it may not write is read-only. The
        read-only pages are those that `make_page` has mapped, for a worker might have replaced a descriptor. Raises OSError."""
        here, size = ctypes.addressof(self), _whole_pages(Told)
        _remap(self.told_view, size, self.where("told"))
        _map(here, _whole_pages(Hidden), _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED)

    def state(self, machine: Table) -> str:
        """The state that a machine is in."""
        return machine.states[int(getattr(self, _WORDS[machine.name]))]

    def move(self, machine: Table, event: str) -> bool:
        """The event happens, in one store, if the table has a row for it. False: the table says that it is to be ignored.
        Raises Refused for any other refusal: the keeper has a bug."""
        try:
            dest = _STEPS[machine.name](self.state(machine), event).dest
        except Refused as refused:
            if refused.answer != "ignore":
                raise
            return False
        setattr(self, _WORDS[machine.name], machine.states.index(dest))
        return True

    def where(self, field: str) -> int:
        """The field's address, for the kernel."""
        return ctypes.addressof(self) + _field_at(SharedPage, field)

    def set_reason(self, why: str) -> None:
        """Before the front-end's connection is left."""
        raw = why.encode()[:REASON_BYTES_MAX]
        ctypes.memmove(self.where("reason"), raw, len(raw))
        self.reason_bytes = len(raw)

    def fixed_fds(self) -> frozenset[int]:
        """Descriptors that are there for good."""
        return frozenset(int(getattr(self, name)) for name in (*FIXED_FDS, "empty_fd"))


def make_page() -> SharedPage:
    """New pages and their descriptors, before there is a second process; all the memory is there, so no store can fail.

    Each part is an object of its own for the kernel, for remap_file_pages(2) reaches all of one. Only `Told` has a descriptor,
    `empty_fd`, which is sealed: a descriptor that leads to nobody. The mappings stay for as long as the process."""
    shared = mmap.MAP_SHARED
    writable = mmap.PROT_READ | mmap.PROT_WRITE
    base = _map(0, ctypes.sizeof(SharedPage), _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for part, kind in (("hidden", Hidden), ("said", Said)):
        at, size = base + _field_at(SharedPage, part), _whole_pages(kind)
        _map(at, size, writable, shared | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE | _MAP_FIXED)
    size = _whole_pages(Told)
    fd = os.memfd_create("steadfs-page", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.posix_fallocate(fd, 0, size)
    _map(base + _field_at(SharedPage, "told"), size, writable, shared | _MAP_FIXED, fd)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    page = SharedPage.from_address(base)
    page.told_view = _map(0, size, mmap.PROT_READ, shared, fd)
    page.empty_fd = fd
    for name in FIXED_FDS:
        setattr(page, name, os.dup(fd))
    return page


def _map(at: int, size: int, protection: int, flags: int, fd: int = -1) -> int:
    numbers = (ctypes.c_int(number) for number in (protection, flags, fd))
    return _checked(_libc.mmap(ctypes.c_void_p(at), ctypes.c_size_t(size), *numbers, ctypes.c_long(0)))


def _remap(at: int, size: int, to: int) -> int:
    same = ctypes.c_size_t(size)
    flags = ctypes.c_int(_MREMAP_MAYMOVE | _MREMAP_FIXED)
    return _checked(_libc.mremap(ctypes.c_void_p(at), same, same, flags, ctypes.c_void_p(to)))


def _checked(address: int) -> int:
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), f"a shared page: {os.strerror(ctypes.get_errno())}")
    return address


def put_at(fd: int, fixed: int) -> None:
    """Moves a descriptor to a fixed number; what was there is closed in the same instant."""
    os.dup2(fd, fixed, inheritable=False)
    close_all((fd,))


def copy_to(fd: int, fixed: int) -> None:
    """What is behind `fd` is behind a fixed number as well; no descriptor has another number meanwhile."""
    os.dup2(fd, fixed, inheritable=False)


def close_all(fds: Sequence[int]) -> None:
    """Those of the descriptors that are open: a worker could close any."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def is_dead(pidfd: int) -> bool:
    """Whether the process that a pidfd leads to is dead, or there was none. A captured worker can have it lead elsewhere: what
    is done to a process is not decided by this, see `exit_status`."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def now_ms() -> int:
    """The clock of the page's times: the same for all processes."""
    return time.monotonic_ns() // 1_000_000
