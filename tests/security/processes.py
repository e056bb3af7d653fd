"""Attacks on other processes: a victim of the same user outside, and the daemon's own keeper."""

import os
import signal
import struct

from tests.security.attack import Attack, Attacker
from tests.security.stage import VICTIM_WORD, soon

_PTRACE_SEIZE, _PTRACE_DETACH = 0x4206, 17
_FIFO = 1
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x20000


def _kill(by: Attacker) -> bool:
    by.call("kill", by.stage.victim.pid, signal.SIGKILL)
    return _is_dead(by)


def _kill_by_pidfd(by: Attacker) -> bool:
    fd = by.call("pidfd_open", by.stage.victim.pid, 0)
    if fd >= 0:
        by.call("pidfd_send_signal", fd, signal.SIGKILL, 0, 0)
    return _is_dead(by)


def _is_dead(by: Attacker) -> bool:
    return soon(lambda: not by.stage.victim.alive(), 0.05)


def _take_descriptor(by: Attacker) -> bool:
    pidfd = by.call("pidfd_open", by.stage.victim.pid, 0)
    fd = by.call("pidfd_getfd", pidfd, by.stage.victim.fd, 0) if pidfd >= 0 else -1
    return by.reads(fd, by.place.secret)


def _trace(by: Attacker) -> bool:
    victim = by.stage.victim.pid
    if by.call("ptrace", _PTRACE_SEIZE, victim, 0, 0) < 0:
        return False
    with open(f"/proc/{victim}/status") as status:
        return any(line == f"TracerPid:\t{by.pid}\n" for line in status)


def _write_memory(by: Attacker) -> bool:
    victim = by.stage.victim
    data = b"harmed".ljust(len(VICTIM_WORD), b"!")
    mine = struct.pack("=QQ", by.put(data), len(data))
    by.call("process_vm_writev", victim.pid, mine, 1, struct.pack("=QQ", victim.word_at, len(data)), 1, 0)
    return victim.word() != VICTIM_WORD


def _read_keeper(by: Attacker) -> bool:
    """The memory of who must not believe it: by its pid, where a secret of theirs would lie."""
    for pid in by.keeper_pids:
        at = _stack(pid)
        mine = struct.pack("=QQ", by.room, 64)
        if by.call("process_vm_readv", pid, mine, 1, struct.pack("=QQ", at, 64), 1, 0) == 64:
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                memory.seek(at)
                return by.taken(64) == memory.read(64)
    return False


def _stack(pid: int) -> int:
    with open(f"/proc/{pid}/maps") as maps:
        line = next(line for line in maps if "[stack]" in line)
    return int(line.split()[0].split("-")[1], 16) - 4096


def _be_urgent(by: Attacker) -> bool:
    by.call("sched_setscheduler", 0, _FIFO, struct.pack("=i", 1))
    done = os.sched_getscheduler(by.pid) == os.SCHED_FIFO
    if done:
        by.call("sched_setscheduler", 0, 0, struct.pack("=i", 0))
    return done


def _child_with_all_rights(by: Attacker) -> bool:
    """In a user namespace of its own a process has every capability over what it makes there."""
    by.call("clone", _CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    return any(_namespace(pid, "user") != _namespace(by.pid, "user") for pid in by.children)


def _child(by: Attacker) -> bool:
    by.call("clone", signal.SIGCHLD, 0, 0, 0, 0)
    return bool(by.children)


def _own_mounts(by: Attacker) -> bool:
    before = _namespace(by.pid, "mnt")
    by.call("unshare", _CLONE_NEWNS)
    return _namespace(by.pid, "mnt") != before


def _namespace(pid: int, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


ATTACKS = (
    Attack("kill(2) a process outside", "it is dead", _kill),
    Attack("kill a process outside by pidfd_open", "it is dead", _kill_by_pidfd),
    Attack("take a descriptor of a process outside by pidfd_getfd", "reads what is behind it", _take_descriptor),
    Attack("ptrace(2) a process outside", "TracerPid", _trace, spoils=True),
    Attack("write another process's memory by process_vm_writev", "its memory", _write_memory),
    Attack("read its own keeper's memory by process_vm_readv", "compared with it", _read_keeper, of_ours=True),
    Attack("SCHED_FIFO: be more urgent than the host's processes", "its scheduler", _be_urgent),
    Attack("make another process", "it is there", _child),
    Attack("make a process with all rights in a new user namespace", "/proc/PID/ns", _child_with_all_rights),
    Attack("unshare(2) a mount namespace of its own", "/proc/PID/ns", _own_mounts, spoils=True),
)
