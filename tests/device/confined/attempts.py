"""System calls that nobody who serves files needs, tried by a real process under a role's filter.

`python -m tests.device.confined.attempts ROLE [OPTION]...` prints how each attempt ended, as JSON: name -> [without
filter, with it], each a wait status. Arguments are such that nothing happens where a call is let through.
"""

import ctypes
import json
import os
import platform
import resource
import sys
from dataclasses import dataclass

from device.confine import kernel
from device.confine.filters import program
from device.confine.program import REFUSED

NOBODY = 0x7FFF_FFF0
"""A pid that no process has."""
NO_FD = 0x7FFF_FFF0
_FILE = ctypes.create_string_buffer(b"/nowhere/at-all")
_PLACE = ctypes.addressof(_FILE)
_ARGV = (ctypes.c_void_p * 1)()


@dataclass(frozen=True, slots=True)
class Attempt:
    """`numbers`: of x86_64 and of aarch64; None where there is no such call."""

    name: str
    numbers: tuple[int | None, int | None]
    arguments: tuple[int, ...] = ()

    @property
    def number(self) -> int | None:
        """Here."""
        return self.numbers[platform.machine() == "aarch64"]


EVERYBODY = (
    # other programs
    Attempt("execve", (59, 221), (_PLACE, ctypes.addressof(_ARGV), 0)),
    Attempt("execveat", (322, 281), (NO_FD, _PLACE, 0, 0, 0)),
    Attempt("mmap that executes", (9, 222), (0, 4096, 5, 0x22, 0xFFFF_FFFF, 0)),
    Attempt("mprotect that executes", (10, 226), (0, 0, 4)),
    Attempt("pkey_mprotect", (329, 288), (0, 0, 1, 0xFFFF_FFFF)),
    Attempt("personality", (135, 92), (0xFFFF_FFFF,)),
    Attempt("vfork", (58, None)),
    # other processes
    Attempt("ptrace", (101, 117), (16, NOBODY)),
    Attempt("process_vm_readv", (310, 270), (NOBODY,)),
    Attempt("process_vm_writev", (311, 271), (NOBODY,)),
    Attempt("process_madvise", (440, 440), (NO_FD,)),
    Attempt("pidfd_getfd", (438, 438), (NO_FD, 0, 0)),
    Attempt("kcmp", (312, 272), (NOBODY, NOBODY, 0, 0, 0)),
    Attempt("tkill", (200, 130), (NOBODY, 0)),
    Attempt("tgkill of a signal that ends nobody", (234, 131), (NOBODY, NOBODY, 10)),
    Attempt("kill of a signal that ends nobody", (62, 129), (NOBODY, 10)),
    Attempt("kill of all", (62, 129), (0xFFFF_FFFF, 0)),
    Attempt("rt_sigqueueinfo", (129, 138), (NOBODY, 0, 0)),
    Attempt("prlimit64 that sets", (302, 261), (NOBODY, 0, _PLACE, 0)),
    Attempt("clone of a user namespace", (56, 220), (0x1000_0011,)),
    Attempt("clone of a mount namespace", (56, 220), (0x0002_0011,)),
    Attempt("unshare of a user namespace", (272, 97), (0x1000_0000,)),
    Attempt("setns", (308, 268), (NO_FD, 0)),
    # mounts, and what the system is
    Attempt("mount", (165, 40), (0, 0, 0, 0, 0)),
    Attempt("umount2", (166, 39), (0, 0)),
    Attempt("pivot_root", (155, 41), (0, 0)),
    Attempt("open_tree", (428, 428), (NO_FD, 0, 0)),
    Attempt("move_mount", (429, 429), (NO_FD, 0, NO_FD, 0, 0)),
    Attempt("fsconfig with a word", (431, 431), (NO_FD, 1, 0, 0, 0)),
    Attempt("fspick", (433, 433), (NO_FD, 0, 0)),
    Attempt("mount_setattr", (442, 442), (NO_FD, 0, 0, 0, 0)),
    Attempt("swapon", (167, 224), (0, 0)),
    Attempt("swapoff", (168, 225), (0,)),
    Attempt("acct", (163, 89), (_PLACE,)),
    Attempt("quotactl", (179, 60), (0xFFFF_FFFF, 0, 0, 0)),
    Attempt("reboot", (169, 142), (0, 0, 0, 0)),
    Attempt("kexec_load", (246, 104), (0, 0, 0, 0xFFFF_FFFF)),
    Attempt("kexec_file_load", (320, 294), (NO_FD, NO_FD, 0, 0, 0xFFFF_FFFF)),
    Attempt("init_module", (175, 105), (0, 0, 0)),
    Attempt("finit_module", (313, 273), (NO_FD, 0, 0)),
    Attempt("delete_module", (176, 106), (0, 0)),
    Attempt("sethostname", (170, 161), (0, 0xFFFF_FFFF)),
    Attempt("setdomainname", (171, 162), (0, 0xFFFF_FFFF)),
    Attempt("settimeofday", (164, 170), (1, 1)),
    Attempt("clock_settime", (227, 112), (0, 0)),
    Attempt("adjtimex", (159, 171), (0,)),
    Attempt("clock_adjtime", (305, 266), (0, 0)),
    Attempt("iopl", (172, None), (4,)),
    Attempt("ioperm", (173, None), (0xFFFF_FFFF, 0xFFFF_FFFF, 0)),
    Attempt("syslog", (103, 116), (0xFF, 0, 0)),
    # what the kernel has had holes in
    Attempt("bpf", (321, 280), (0xFF, 0, 0)),
    Attempt("perf_event_open", (298, 241), (0, 0, 0, NO_FD, 0)),
    Attempt("io_uring_setup", (425, 425), (0, 0)),
    Attempt("io_uring_enter", (426, 426), (NO_FD,)),
    Attempt("io_uring_register", (427, 427), (NO_FD,)),
    Attempt("userfaultfd", (323, 282), (0xFFFF_FFFF,)),
    Attempt("add_key", (248, 217), (0, 0, 0, 0, 0)),
    Attempt("request_key", (249, 218), (0, 0, 0, 0)),
    Attempt("keyctl", (250, 219), (0xFFFF_FFFF,)),
    Attempt("fanotify_init", (300, 262), (0xFFFF_FFFF, 0)),
    Attempt("inotify_init1", (294, 26), (0xFFFF_FFFF,)),
    Attempt("io_setup", (206, 0), (0, 0)),
    Attempt("splice", (275, 76), (NO_FD, 0, NO_FD, 0, 0, 0)),
    Attempt("vmsplice", (278, 75), (NO_FD, 0, 0, 0)),
    Attempt("modify_ldt", (154, None), (0xFF, 0, 0)),
    Attempt("lookup_dcookie", (212, 18), (0, 0, 0)),
    Attempt("nfsservctl", (180, 42)),
    Attempt("memfd_secret", (447, 447), (0xFFFF_FFFF,)),
    Attempt("remap_file_pages", (216, 234), (0, 0, 0xFFFF, 0, 0)),
    # time of the processor and memory of others
    Attempt("sched_setscheduler", (144, 119), (NOBODY, 1, 0)),
    Attempt("sched_setattr", (314, 274), (NOBODY, 0, 0)),
    Attempt("sched_setaffinity", (203, 122), (NOBODY, 0, 0)),
    Attempt("sched_setparam", (142, 118), (NOBODY, 0)),
    Attempt("mlock", (149, 228), (0, 0)),
    Attempt("mlockall", (151, 230), (0,)),
    Attempt("migrate_pages", (256, 238), (NOBODY, 0, 0, 0)),
    Attempt("move_pages", (279, 239), (NOBODY, 0, 0, 0, 0, 0)),
    Attempt("mbind", (237, 235), (0, 0, 0xFF, 0, 0, 0)),
    # other ways to talk
    Attempt("a unix socket", (41, 198), (1, 0xFF, 0)),
    Attempt("an internet socket", (41, 198), (2, 0xFF, 0)),
    Attempt("a netlink socket", (41, 198), (16, 0xFF, 0)),
    Attempt("a packet socket", (41, 198), (17, 0xFF, 0)),
    Attempt("a vsock", (41, 198), (40, 0xFF, 0)),
    Attempt("an internet socketpair", (53, 199), (2, 0xFF, 0, 0)),
    Attempt("bind", (49, 200), (NO_FD, 0, 0)),
    Attempt("listen", (50, 201), (NO_FD, 0)),
    Attempt("connect", (42, 203), (NO_FD, 0, 0)),
    Attempt("sendto with an address", (44, 206), (NO_FD, 0, 0, 0, 1, 0)),
    Attempt("sendmsg", (46, 211), (NO_FD, 0, 0)),
    Attempt("recvmsg", (47, 212), (NO_FD, 0, 0)),
    Attempt("shmget", (29, 194), (0, 0, 0)),
    Attempt("shmat", (30, 196), (0xFFFF_FFFF, 0, 0)),
    Attempt("msgget", (68, 186), (1, 0)),
    Attempt("semget", (64, 190), (1, 0, 0)),
    Attempt("mq_open", (240, 180), (0, 0, 0, 0)),
    Attempt("fcntl F_SETOWN", (72, 25), (NO_FD, 8, 0)),
    Attempt("fcntl F_NOTIFY", (72, 25), (NO_FD, 1026, 0)),
    Attempt("ioctl TIOCSTI", (16, 29), (NO_FD, 0x5412, 0)),
    Attempt("ioctl of a block device", (16, 29), (NO_FD, 0x125D, 0)),
    # what a process is
    Attempt("setuid", (105, 146), (0xFFFF_FFFF,)),
    Attempt("setresuid", (117, 147), (0xFFFF_FFFF,) * 3),
    Attempt("setgid", (106, 144), (0xFFFF_FFFF,)),
    Attempt("prctl PR_SET_DUMPABLE", (157, 167), (4, 0xFF)),
    Attempt("prctl PR_SET_MM", (157, 167), (35, 0xFF)),
    Attempt("a filter with a listener", (317, 277), (1, 8, 0)),
    Attempt("a filter by prctl", (157, 167), (22, 0xFF)),
)
"""Nobody's, not even a guardian's or keeper's."""

WORKERS = (
    Attempt("fork", (57, None)),
    Attempt("clone of a worker", (56, 220), (0x2000_0411,)),
    Attempt("clone that shares descriptors", (56, 220), (0x411,)),
    Attempt("kill", (62, 129), (NOBODY, 9)),
    Attempt("tgkill of another", (234, 131), (NOBODY, NOBODY, 9)),
    Attempt("pidfd_open", (434, 434), (NOBODY, 0)),
    Attempt("pidfd_send_signal", (424, 424), (NO_FD, 9, 0, 0)),
    Attempt("open_by_handle_at", (304, 265), (NO_FD, 0, 0)),
    Attempt("accept4", (288, 242), (NO_FD, 0, 0, 0)),
    Attempt("recvmmsg", (299, 243), (NO_FD, 0, 0, 0, 0)),
    Attempt("sendmmsg", (307, 269), (NO_FD, 0, 0, 0)),
    Attempt("fsopen", (430, 430), (0, 1)),
    Attempt("fsmount", (432, 432), (NO_FD, 1, 0xE)),
    Attempt("chroot", (161, 51), (0,)),
    Attempt("prctl PR_CAPBSET_DROP", (157, 167), (24, 0xFF)),
    Attempt("prctl PR_SET_CHILD_SUBREAPER", (157, 167), (36, 0)),
)
"""Nor these a worker's."""

ARCHIVERS = (
    Attempt("fork by clone", (56, 220), (17,)),
    Attempt("a thread", (56, 220), (0x3D_0F00,)),
    Attempt("mknodat", (259, 33), (NO_FD, 0, 0, 0)),
    Attempt("mkdirat", (258, 34), (NO_FD, 0, 0)),
    Attempt("setfsuid", (122, 151), (0xFFFF_FFFF,)),
    Attempt("setgroups", (116, 159), (0xFFFF_FFFF, 0)),
    Attempt("capset", (126, 91), (0, 0)),
    Attempt("socketpair", (53, 199), (1, 0xFF, 0, 0)),
    Attempt("memfd_create", (319, 279), (0, 0)),
    Attempt("another filter", (317, 277), (1, 5, 0)),
)
"""Nor these an archiver's."""

OF_ROLE = {"guardian": EVERYBODY, "worker": (*EVERYBODY, *WORKERS), "archiver": (*EVERYBODY, *WORKERS, *ARCHIVERS)}

_libc = ctypes.CDLL(None, use_errno=True)


def make(attempt: Attempt, role: str, options: list[str], *, filtered: bool) -> int:
    """The wait status of a process that does it, and then ends."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if filtered:
        kernel.give_privileges_up()
        kernel.take(program(role, options, REFUSED["kill"]))
    words = [ctypes.c_ulong(word) for word in attempt.arguments] + [ctypes.c_ulong(0)] * (6 - len(attempt.arguments))
    _libc.syscall(ctypes.c_long(attempt.number or 0), *words)
    os._exit(0)


def main(role: str, options: list[str]) -> None:
    """Every attempt of a role, in vain and not."""
    found = {
        attempt.name: [make(attempt, role, options, filtered=filtered) for filtered in (False, True)]
        for attempt in OF_ROLE[role]
        if attempt.number is not None
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
