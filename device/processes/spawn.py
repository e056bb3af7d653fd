"""A child that shares our table of descriptors: clone(2) with CLONE_FILES, without exec.

Only for a process of one thread: the child is a copy of it, locks of other threads' allocators would stay locked in it.
"""

import ctypes
import os
import platform
import signal

_CLONE_FILES = 0x400
_CLONE_PARENT_SETTID = 0x00100000
_CLONE_CHILD_CLEARTID = 0x00200000
_CLONE_CHILD_SETTID = 0x01000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_TID_ADDRESS = 40
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}

_libc = ctypes.PyDLL(None, use_errno=True)
"""PyDLL keeps the interpreter's lock, so that the child has it as well."""


def clone_sharing_files(flags: int = 0, pid_at: int = 0) -> int:
    """The child's pid, or 0 in the child; `flags`: new namespaces for it. Raises OSError.

    At the address `pid_at` (of an int; 0: nowhere) the kernel stores the child's pid before the child runs, so that it is
    known even if its parent dies in the call.
    """
    return _fork(_CLONE_FILES | flags, pid_at)


def clone_apart() -> int:
    """The same, but the child has a table of descriptors of its own, a copy: what it opens nobody replaces. Raises OSError."""
    return _fork(0, 0)


def _fork(flags: int, pid_at: int) -> int:
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    pid = _clone(flags, pid_at)
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    api.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid


def _clone(shared_and_new: int, pid_at: int) -> int:
    """As fork does it, the C library's own note of the thread's id is renewed in the child."""
    tid_address = ctypes.c_void_p(0)
    flags = shared_and_new | signal.SIGCHLD
    if _libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(tid_address), 0, 0, 0) == 0 and tid_address.value:
        flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
    if pid_at:
        flags |= _CLONE_PARENT_SETTID
    zero, parent = ctypes.c_void_p(0), ctypes.c_void_p(pid_at)
    # stack, where the parent learns the pid, then child's tid and thread-local storage, whose order depends on the machine.
    last = (tid_address, zero) if platform.machine() == "x86_64" else (zero, tid_address)
    number = _SYS_CLONE[platform.machine()]
    return int(_libc.syscall(ctypes.c_long(number), ctypes.c_ulong(flags), zero, parent, *last))


def be_subreaper() -> None:
    """Orphans among our descendants become our children, so that we can wait for them: prctl(2), PR_SET_CHILD_SUBREAPER."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def hear_of_parents_death() -> None:
    """By SIGCHLD, as of a child's: prctl(2), PR_SET_PDEATHSIG. Whoever asks looks afterwards whether it is dead already."""
    _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGCHLD), 0, 0, 0)
