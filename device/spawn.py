"""A child that shares our table of descriptors: clone(2) with CLONE_FILES, without exec.

Only for a process of one thread: the child is a copy of it, locks of other threads' allocators would stay locked in it.
"""

import ctypes
import os
import platform
import select
import signal

_CLONE_FILES = 0x400
_CLONE_CHILD_CLEARTID = 0x00200000
_CLONE_CHILD_SETTID = 0x01000000
_PR_SET_PDEATHSIG = 1
_PR_GET_TID_ADDRESS = 40
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}

_libc = ctypes.PyDLL(None, use_errno=True)
"""PyDLL keeps the interpreter's lock, so that the child has it as well."""


def clone_sharing_files(flags: int = 0) -> int:
    """The child's pid, or 0 in the child; `flags`: new namespaces for it. Raises OSError."""
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    pid = _clone(flags)
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    api.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid


def _clone(namespaces: int) -> int:
    """As fork does it, the C library's own note of the thread's id is renewed in the child."""
    tid_address = ctypes.c_void_p(0)
    flags = _CLONE_FILES | namespaces | signal.SIGCHLD
    if _libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(tid_address), 0, 0, 0) == 0 and tid_address.value:
        flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
    zero = ctypes.c_void_p(0)
    # stack, parent's tid, then child's tid and thread-local storage, whose order depends on the machine.
    last = (tid_address, zero) if platform.machine() == "x86_64" else (zero, tid_address)
    number = _SYS_CLONE[platform.machine()]
    return int(_libc.syscall(ctypes.c_long(number), ctypes.c_ulong(flags), zero, zero, *last))


def die_with(parent: int) -> None:
    """In the child: killed when its parent dies; ends at once if it has died already.

    `parent`: a pidfd. In a pid namespace of its own the child can't name its parent otherwise.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    poll = select.poll()
    poll.register(parent, select.POLLIN)
    if poll.poll(0):
        os._exit(0)
