"""Attacks on the host's kernel: mounts, and system calls that no file server needs. Each is harmless if it succeeds."""

import errno
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from tests.security.attack import AT_FDCWD, Attack, Attacker
from tests.security.stage import came

_TYPES = {"proc": b"", "sysfs": b"", "devtmpfs": b"", "cgroup": b"none,name=steadfs-attack", "tmpfs": b""}
"""File systems with their options. A named cgroup hierarchy is one that nothing else uses."""


def _mount(kind: str) -> Callable[[Attacker], bool]:
    return lambda by: _mounts(by, kind)


def _mounts(by: Attacker, kind: str) -> bool:
    """On a directory of the share; taken off again."""
    place = by.name("folder")
    if by.call("mount", b"attacker", place, kind.encode(), 0, _TYPES[kind]) < 0:
        return False
    mounted = any(f" - {kind} attacker" in line for line in Path(f"/proc/{by.pid}/mountinfo").read_text().splitlines())
    by.call("umount2", place, 2)
    return mounted


def _fsopen(by: Attacker) -> bool:
    """At no place: the new way, told by a file in it."""
    for kind, inside in (("proc", b"sys/kernel/core_pattern"), ("sysfs", b"kernel"), ("devtmpfs", b"null")):
        context = by.call("fsopen", kind.encode(), 0)
        if context < 0 or by.call("fsconfig", context, 6, 0, 0, 0) < 0:
            continue
        mount = by.call("fsmount", context, 0, 0)
        if mount >= 0 and by.call("openat", mount, inside, os.O_RDONLY, 0) >= 0:
            return True
    return False


def _remount(by: Attacker) -> bool:
    """What the mount of the share forbids (nodev, noexec, nosuid), allowed again: a mount's attributes as they are."""
    before = _attributes(by)
    attributes = struct.pack("=QQQQ", 0, 0xE, 0, 0)  # clear nosuid, nodev, noexec
    by.call("mount_setattr", AT_FDCWD, by.name(), 0, attributes, len(attributes))
    return bool(before & {"nodev", "noexec", "nosuid"}) and not _attributes(by) & {"nodev", "noexec", "nosuid"}


def _attributes(by: Attacker) -> set[str]:
    lines = [line.split() for line in Path(f"/proc/{by.pid}/mountinfo").read_text().splitlines()]
    return set(next((line[5] for line in lines if line[4] == os.fsdecode(by.name())), "").split(","))


def _reboot(by: Attacker) -> bool:
    """With numbers that no kernel takes."""
    return by.may(by.call("reboot", 0, 0, 0, 0), errno.EINVAL)


def _set_time(by: Attacker) -> bool:
    """The time zone that the kernel has already."""
    by.call("gettimeofday", 0, by.room)
    return by.call("settimeofday", 0, by.room) == 0


def _set_clock(by: Attacker) -> bool:
    now = time.time_ns()
    return by.call("clock_settime", time.CLOCK_REALTIME, struct.pack("=qq", *divmod(now, 10**9))) == 0


def _set_hostname(by: Attacker) -> bool:
    """To what it is, and only where it is the host's."""
    name = socket.gethostname().encode()
    done = by.call("sethostname", name, len(name)) == 0
    return done and os.readlink(f"/proc/{by.pid}/ns/uts") == os.readlink("/proc/self/ns/uts")


def _modules(by: Attacker) -> bool:
    return by.may(by.call("init_module", b"no module", 9, b""), errno.ENOEXEC, errno.EINVAL, errno.EFAULT)


def _kexec(by: Attacker) -> bool:
    """With flags that no kernel takes."""
    return by.may(by.call("kexec_load", 0, 0, 0, 0x0F0F), errno.EINVAL)


def _bpf(by: Attacker) -> bool:
    array = struct.pack("=IIIII", 2, 4, 4, 1, 0).ljust(128, b"\0")
    return by.gets(by.call("bpf", 0, array, len(array)), "bpf-map")


def _perf(by: Attacker) -> bool:
    clock = struct.pack("=IIQ", 1, 128, 0).ljust(128, b"\0")
    return by.gets(by.call("perf_event_open", clock, -1, 0, -1, 0), "perf_event")


def _io_uring(by: Attacker) -> bool:
    return by.gets(by.call("io_uring_setup", 1, bytes(120)), "io_uring")


def _userfaultfd(by: Attacker) -> bool:
    return by.gets(by.call("userfaultfd", os.O_CLOEXEC), "userfaultfd")


def _fanotify(by: Attacker) -> bool:
    return by.gets(by.call("fanotify_init", 0, 0), "fanotify")


def _key(by: Attacker) -> bool:
    """In the keyring of the process, which ends with it."""
    return by.call("add_key", b"user", b"steadfs-attack", b"secret", 6, -2) > 0


def _keyctl(by: Attacker) -> bool:
    """KEYCTL_GET_KEYRING_ID of the user's keyring, which processes outside share."""
    return by.call("keyctl", 0, -4, 1) > 0


def _log(by: Attacker) -> bool:
    return by.call("syslog", 3, by.room, 4096) > 0


def _socket(family: int, kind: int) -> Callable[[Attacker], bool]:
    return lambda by: by.gets(by.call("socket", family, kind | socket.SOCK_CLOEXEC, 0), "socket:")


def _loopback(by: Attacker) -> bool:
    port = by.stage.loopback.getsockname()[1]
    fd = by.call("socket", socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0)
    address = struct.pack("=H", socket.AF_INET) + port.to_bytes(2) + bytes((127, 0, 0, 1)) + bytes(8)
    by.call("connect", fd, address, len(address))
    return came(by.stage.loopback)


def _abstract(by: Attacker) -> bool:
    fd = by.call("socket", socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0)
    address = struct.pack("=H", socket.AF_UNIX) + by.stage.abstract_name.encode()
    by.call("connect", fd, address, len(address))
    return came(by.stage.abstract)


def _shm(by: Attacker) -> bool:
    """Seen in the host's list."""
    before = _segments("shm")
    number = by.call("shmget", 0, 4096, 0o600)
    made = _segments("shm") - before
    if number >= 0:
        by.call("shmctl", number, 0, 0)
    return bool(made)


def _msg(by: Attacker) -> bool:
    before = _segments("msg")
    number = by.call("msgget", 0, 0o600)
    made = _segments("msg") - before
    if number >= 0:
        by.call("msgctl", number, 0, 0)
    return bool(made)


def _sem(by: Attacker) -> bool:
    before = _segments("sem")
    number = by.call("semget", 0, 1, 0o600)
    made = _segments("sem") - before
    if number >= 0:
        by.call("semctl", number, 0, 0, 0)
    return bool(made)


def _segments(kind: str) -> set[str]:
    path = Path(f"/proc/sysvipc/{kind}")
    return {line.split()[1] for line in path.read_text().splitlines()[1:]} if path.exists() else set()


def _swap(by: Attacker) -> bool:
    return by.may(by.call("swapon", b"/no such file", 0), errno.ENOENT)


def _accounting(by: Attacker) -> bool:
    return by.may(by.call("acct", b"/no such file"), errno.ENOENT)


def _ports(by: Attacker) -> bool:
    return by.call("iopl", 3) == 0


ATTACKS = (
    *(Attack(f"mount(2) {kind}", "mountinfo", _mount(kind)) for kind in _TYPES),
    Attack("fsopen(2), fsmount(2) of proc, sysfs or devtmpfs", "opens a file there", _fsopen),
    Attack("mount_setattr(2): take nodev, noexec, nosuid off the share", "mountinfo", _remount, spoils=True),
    Attack("reboot(2)", "EINVAL, not EPERM, for a bad number", _reboot),
    Attack("settimeofday(2)", "is taken, with the zone that it is", _set_time),
    Attack("clock_settime(2)", "is taken, with the time that it is", _set_clock),
    Attack("sethostname(2)", "is taken, in the host's namespace", _set_hostname),
    Attack("init_module(2)", "an error past the check of rights", _modules),
    Attack("kexec_load(2)", "EINVAL, not EPERM, for bad flags", _kexec),
    Attack("bpf(2)", "a map", _bpf),
    Attack("perf_event_open(2) of a whole processor", "a descriptor", _perf),
    Attack("io_uring_setup(2)", "a descriptor", _io_uring),
    Attack("userfaultfd(2)", "a descriptor", _userfaultfd),
    Attack("fanotify_init(2)", "a descriptor", _fanotify),
    Attack("add_key(2)", "a key", _key),
    Attack("keyctl(2): the user's keyring", "its number", _keyctl),
    Attack("syslog(2): read the kernel's log", "is given it", _log),
    Attack("a vsock socket", "a descriptor", _socket(40, socket.SOCK_STREAM)),
    Attack("a packet socket", "a descriptor", _socket(17, socket.SOCK_RAW)),
    Attack("a netlink socket", "a descriptor", _socket(16, socket.SOCK_RAW)),
    Attack("connect to a server on the host's loopback", "that one accepts", _loopback),
    Attack("connect to an abstract unix socket of the host", "that one accepts", _abstract),
    Attack("shmget(2)", "/proc/sysvipc", _shm),
    Attack("msgget(2)", "/proc/sysvipc", _msg),
    Attack("semget(2)", "/proc/sysvipc", _sem),
    Attack("swapon(2)", "ENOENT, not EPERM, for a path that isn't there", _swap),
    Attack("acct(2)", "ENOENT, not EPERM, for a path that isn't there", _accounting),
    Attack("iopl(2)", "is taken", _ports, spoils=True),
)
