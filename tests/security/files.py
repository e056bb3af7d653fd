"""Attacks by names, descriptors and file handles."""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.recovery.killer import is_dead
from tests.security.attack import AT_FDCWD, O_PATH, Attack, Attacker
from tests.security.stage import came, file_handle, soon

_FD_NSFS_ROOT = -10003
"""include/uapi/linux/fcntl.h: a mount descriptor that stands for the file system of namespaces."""


def _climb(by: Attacker) -> bool:
    return by.reads(by.open_outside(by.place.secret), by.place.secret)


def _chroot_out(by: Attacker) -> bool:
    """chroot(2): the working directory stays outside of the new root, and `..` is not stopped there."""
    fd = by.call("openat", AT_FDCWD, by.name(), os.O_RDONLY | os.O_DIRECTORY, 0)
    if by.call("chroot", by.name("folder")) < 0 or by.call("fchdir", fd) < 0:
        return False
    return by.reads(by.open_outside(by.place.secret), by.place.secret)


def _handle(by: Attacker, path: Path) -> bool:
    handle = file_handle(path)
    for directory in _mounts(by):
        fd = by.call("open_by_handle_at", directory, handle, os.O_RDONLY)
        if by.reads(fd, path):
            return True
    return False


def _mounts(by: Attacker) -> Iterator[int]:
    """Descriptors of every file system that it has any of; open_by_handle_at(2) takes none with O_PATH."""
    yield by.call("openat", AT_FDCWD, by.name(), os.O_RDONLY | os.O_DIRECTORY, 0)
    for fd in by.directories():
        again = by.call("openat", fd, b".", os.O_RDONLY | os.O_DIRECTORY, 0)
        if again >= 0:
            yield again
            by.call("close", again)


def _hidden(by: Attacker) -> bool:
    return by.reads(by.open_outside(by.place.beside_socket), by.place.beside_socket)


def _create(by: Attacker) -> bool:
    path = by.place.state / "made by an attacker"
    for directory, name in by.ways(path):
        fd = by.call("openat", directory, name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        if fd >= 0 and path.exists():
            path.unlink()
            return True
    (by.place.share / path.name).unlink(missing_ok=True)
    return False


def _connect(by: Attacker, path: Path) -> Iterator[int]:
    """Sockets that are connected to what it takes to be that path: connect(2) has no directory to start from but the working
    one."""
    address = struct.pack("=H", socket.AF_UNIX)
    home = by.call("openat", AT_FDCWD, b".", O_PATH | os.O_DIRECTORY, 0)
    for directory in by.directories():
        if directory != AT_FDCWD and by.call("fchdir", directory) < 0:
            continue
        for name in (os.fsencode(path.name), os.fsencode(path)):
            fd = by.call("socket", socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0)
            sent = address + name + b"\0"
            if by.call("connect", fd, sent, len(sent)) == 0:
                yield fd
            by.call("close", fd)
    by.call("fchdir", home)
    by.call("close", home)


def _connect_beside(by: Attacker) -> bool:
    return any(came(by.stage.neighbour) for _ in _connect(by, by.place.state / "neighbour"))


def _connect_own(by: Attacker) -> bool:
    """The other end bears the listener's path."""
    path = by.place.state / "socket"
    size = struct.pack("=i", 128)
    for fd in _connect(by, path):
        if by.call("getpeername", fd, by.room, size) == 0 and os.fsencode(path) in by.taken(128):
            return True
    return False


def _forge_pid(by: Attacker) -> bool:
    """By a name, or by a descriptor of the table."""
    path = by.place.state / "socket.pid"
    before = path.read_bytes()
    fds = [fd for fd in by.fds() if os.path.exists(f"/proc/{by.pid}/fd/{fd}") and os.path.samestat(by.behind(fd), path.stat())]
    fds.append(by.open_outside(path, os.O_WRONLY))
    for fd in fds:
        by.call("pwrite64", fd, b"1\n", 2, 0)
        by.call("ftruncate", fd, 2)
    forged = path.read_bytes() != before
    if forged:
        path.write_bytes(before)
    return forged


def _proc(by: Attacker, pid: int, what: str) -> bool:
    """/proc/PID of a process outside, from each directory as well as by its path."""
    wanted = Path(f"/proc/{pid}/{what}").read_bytes()
    tail = f"{pid}/{what}".encode()
    names = [(AT_FDCWD, b"/proc/" + tail)]
    ups = (b"", b"../", b"../../", b"../../../", b"../" * 40 + b"proc/")
    names += [(fd, up + tail) for fd in by.directories() for up in ups]
    for directory, name in names:
        fd = by.call("openat", directory, name, os.O_RDONLY, 0)
        size = by.call("read", fd, by.room, 4096) if fd >= 0 else 0
        if size > 0 and by.taken(size) == wanted[:size]:
            return True
        if fd >= 0:
            by.call("close", fd)
    return False


def _execute(by: Attacker) -> bool:
    """The program makes a file in the share."""
    proof = by.place.share / "folder" / "executed"
    proof.unlink(missing_ok=True)
    program = by.name("program")
    if by.call("execve", program, by.pointers(b"busybox", b"touch", by.name("folder", "executed")), by.pointers()) < 0:
        return False
    return _ran(by, proof)


def _execute_memory(by: Attacker) -> bool:
    """The same from a memfd, which no mount option of the share concerns."""
    proof = by.place.share / "folder" / "executed from memory"
    proof.unlink(missing_ok=True)
    fd = by.call("memfd_create", b"program", 0x10)  # MFD_EXEC
    if fd < 0:
        fd = by.call("memfd_create", b"program", 0)
    data = (by.place.share / "program").read_bytes()
    for at in range(0, len(data), 16384):
        part = data[at : at + 16384]
        by.call("pwrite64", fd, part, len(part), at)
    arguments = by.pointers(b"busybox", b"touch", by.name("folder", "executed from memory"))
    if by.call("execveat", fd, b"", arguments, by.pointers(), 0x1000) < 0:  # AT_EMPTY_PATH
        return False
    return _ran(by, proof)


def _ran(by: Attacker, proof: Path) -> bool:
    by.release()
    soon(lambda: is_dead(by.pid))
    return proof.exists()


def _executable_memory(by: Attacker) -> bool:
    at = by.call("mmap", 0, 4096, 7, 0x22, -1, 0)
    if at == -1:
        return False
    lines = Path(f"/proc/{by.pid}/maps").read_text().splitlines()
    by.call("munmap", at, 4096)
    return any(int(line.split("-")[0], 16) <= at and " rwxp " in line for line in lines)


def _device(by: Attacker, kind: int, number: int, flags: int) -> bool:
    """A node of the device in the share, which a guest may make, opened by the worker."""
    node, name = by.place.share / "folder" / "device", by.name("folder", "device")
    node.unlink(missing_ok=True)
    if by.call("mknodat", AT_FDCWD, name, kind | 0o600, number) < 0:
        return False
    fd = by.call("openat", AT_FDCWD, name, flags | os.O_NONBLOCK, 0)
    node.unlink(missing_ok=True)
    return fd >= 0 and by.behind(fd).st_rdev == number


def _disk() -> int:
    """A block device that there is."""
    for path in sorted(Path("/sys/class/block").glob("*/dev")):
        major, minor = path.read_text().split(":")
        return os.makedev(int(major), int(minor))
    return os.makedev(7, 0)


def _setns(by: Attacker) -> bool:
    """By a file handle of the namespace, which file systems of namespaces have, or by /proc/1/ns/mnt."""
    host = os.stat("/proc/self/ns/mnt")
    try:
        fd = by.call("open_by_handle_at", _FD_NSFS_ROOT, file_handle(Path("/proc/self/ns/mnt")), os.O_RDONLY)
    except OSError:
        fd = -1
    if fd < 0:
        fd = by.open_outside(Path("/proc/1/ns/mnt"))
    if fd < 0:
        fd = by.call("pidfd_open", by.stage.victim.pid, 0)
    by.call("unshare", 0x200)  # CLONE_FS: setns(2) asks for a thread that shares its working directory with none
    if by.call("setns", fd, 0x20000) < 0:
        return False
    return os.path.samestat(os.stat(f"/proc/{by.pid}/ns/mnt"), host) and by.open_outside(by.place.secret) >= 0


def _change(by: Attacker, call: str, *words: int | bytes) -> bool:
    """What a call that takes a directory and a name does to a file outside: its mode, its owner, its times."""
    path = by.place.secret
    before = path.stat()
    for directory, name in by.ways(path):
        by.call(call, directory, name, *words)
    after = path.stat()
    os.chmod(path, before.st_mode)
    os.chown(path, before.st_uid, before.st_gid)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return (before.st_mode, before.st_gid, before.st_mtime) != (after.st_mode, after.st_gid, after.st_mtime)


def _see(by: Attacker) -> bool:
    """struct stat has the inode's number at its second word."""
    path = by.place.secret
    return any(
        by.call("newfstatat", directory, name, by.room, 0) == 0 and by.taken(16)[8:] == struct.pack("=Q", path.stat().st_ino)
        for directory, name in by.ways(path)
    )


def _remove(by: Attacker) -> bool:
    path = by.place.disk / "to be removed"
    path.touch()
    os.chown(path, by.place.secret.stat().st_uid, -1)
    for directory, name in by.ways(path):
        by.call("unlinkat", directory, name, 0)
    gone = not path.exists()
    path.unlink(missing_ok=True)
    return gone


def _read_key(by: Attacker) -> bool:
    """It is overwritten every second, so that whatever comes of it will do."""
    fd = by.open_outside(by.place.key)
    return fd >= 0 and by.call("pread64", fd, by.room, 4096, 0) > 0


def _forge_journal(by: Attacker) -> bool:
    """The present is its own; the past is sealed."""
    for name in ("journal.db", "journal.db-wal"):
        path = by.place.state / "journal" / name
        fd = by.open_outside(path, os.O_WRONLY) if path.exists() else -1
        if fd >= 0:
            by.call("close", fd)
            return True
    return False


_GROUP = 65534
_CHAR, _BLOCK = 0o020000, 0o060000
_KMSG = os.makedev(1, 11)

ATTACKS = (
    Attack("execute a file that the guest put into the share", "the program leaves a file", _execute, by_main=True),
    Attack("execute a memfd", "the program leaves a file", _execute_memory, by_main=True),
    Attack("map memory that can be written and executed", "/proc/PID/maps", _executable_memory),
    Attack("climb out of the share by `..` from every directory of its table", "reads a file beside the share", _climb),
    Attack("chroot(2) below the share and climb out", "reads a file beside the share", _chroot_out, spoils=True),
    Attack("open_by_handle_at: a file of the share's file system, outside of the share", "reads it",
           lambda by: _handle(by, by.place.secret)),
    Attack("open_by_handle_at: a file on the journal's tmpfs", "reads it", lambda by: _handle(by, by.place.secret_in_memory)),
    Attack("see that a file outside is there, by stat(2)", "its inode's number", _see),
    Attack("change a file's mode outside", "its mode", lambda by: _change(by, "fchmodat", 0o640)),
    Attack("give a file outside to another group", "its group", lambda by: _change(by, "fchownat", -1, _GROUP, 0)),
    Attack("set a file's times outside", "its times", lambda by: _change(by, "utimensat", bytes(32), 0)),
    Attack("remove a file outside", "it is gone", _remove),
    Attack("read a file beside the socket", "reads it", _hidden),
    Attack("create a file beside the socket", "it is there", _create),
    Attack("connect to another socket beside its own", "that one accepts", _connect_beside),
    Attack("connect to its own front-end socket", "the peer's name", _connect_own),
    Attack("forge PATH.pid", "its content", _forge_pid),
    Attack("read /proc/PID of another process", "its command line", lambda by: _proc(by, by.stage.victim.pid, "cmdline")),
    Attack("setns into the host's mount namespace", "/proc/PID/ns", _setns, spoils=True),
    Attack("make a block device's node and open it", "the descriptor's device number",
           lambda by: _device(by, _BLOCK, _disk(), os.O_RDONLY)),
    Attack("make the node of /dev/kmsg and open it", "the descriptor's device number",
           lambda by: _device(by, _CHAR, _KMSG, os.O_WRONLY)),
    Attack("read the key by which the journal is sealed", "reads it", _read_key, of_ours=True),
    Attack("write the journal's seals", "opens the file to write",
           lambda by: by.open_outside(by.place.seals, os.O_WRONLY) >= 0, of_ours=True),
    Attack("write its own journal's file", "opens it to write", _forge_journal, of_ours=True),
)  # fmt: skip
