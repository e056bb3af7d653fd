"""Processes and threads, what they are told, and the ends that they talk by."""

from machine.system_calls import Argument, SystemCall

_KEEPERS = ("guardian", "keeper")

# include/uapi/linux/sched.h. Where the kernel doesn't tell where a thread's id is kept, the two bits CHILD_* are missing.
_CHILD_BITS = 0x0120_0000
_FILES, _NEWPID, _PARENT_SETTID, _SIGCHLD = 0x400, 0x2000_0000, 0x0010_0000, 17
_SHARING_FILES = Argument(
    0, (_FILES | _SIGCHLD, _FILES | _PARENT_SETTID | _SIGCHLD, _FILES | _NEWPID | _PARENT_SETTID | _SIGCHLD),
    "CLONE_FILES; a spare's with its pid told, in a pid namespace of its own or none", bits=64,
    mask=0xFFFF_FFFF_FFFF_FFFF & ~_CHILD_BITS,
)  # fmt: skip
_OF_A_THREAD = Argument(0, (0x3D_0F00, 0x7D_0F00), "as pthread_create of glibc and of musl", bits=64)
_OF_A_FORK = Argument(0, (_SIGCHLD,), "as fork", bits=64, mask=0xFFFF_FFFF_FFFF_FFFF & ~_CHILD_BITS)
_TO_END = Argument(1, (9, 15), "SIGKILL, SIGTERM")
_ONE_PROCESS = Argument(0, (0,), "one process", mask=0x8000_0000)
# include/uapi/linux/prctl.h
_PR_PDEATHSIG, _PR_NAME, _PR_CHILD_SUBREAPER, _PR_GET_TID_ADDRESS = 1, 15, 36, 40
_RIGHTS = Argument(0, (24, 28, 38, 47), "PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT")
# include/uapi/linux/seccomp.h: SECCOMP_SET_MODE_FILTER 1; FLAG_TSYNC 1, FLAG_SPEC_ALLOW 4
_A_FILTER = (Argument(0, (1,), "SECCOMP_SET_MODE_FILTER"), Argument(1, (5,), "all threads, no listener"))
_UNIX = Argument(0, (1,), "AF_UNIX")
_NO_ADDRESS = Argument(4, (0,), "no address", bits=64)
_SNDBUF = (Argument(1, (1,), "SOL_SOCKET"), Argument(2, (7,), "SO_SNDBUF"))

PROCESSES = (
    # made
    SystemCall("clone", _KEEPERS, "keeper, guardian, spare", "clone(2)", (_SHARING_FILES,)),
    SystemCall("clone", _KEEPERS, "a helper with a table of its own, which ends who is no child", "clone(2)", (_OF_A_FORK,)),
    SystemCall("clone", ("worker",), "threads of the queues and of the pool", "clone(2)", (_OF_A_THREAD,)),
    SystemCall("clone", ("worker",), "the archiver", "clone(2)", (_OF_A_FORK,), only="--journal-archive"),
    SystemCall("clone", ("sealer",), "the next sealer", "clone(2)", (_OF_A_FORK,)),
    SystemCall("seccomp", ("newborn",), "a worker's filter", "seccomp(2)", _A_FILTER),
    SystemCall("seccomp", ("worker",), "an archiver's filter", "seccomp(2)", _A_FILTER, only="--journal-archive"),
    # what they are told, and are
    SystemCall("prctl", _KEEPERS, "the child's thread id; orphans come to us; a maker's death is told", "prctl(2)",
               (Argument(0, (_PR_PDEATHSIG, _PR_CHILD_SUBREAPER, _PR_GET_TID_ADDRESS),
                         "PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_GET_TID_ADDRESS"),)),
    SystemCall("getppid", _KEEPERS, "whether its maker lives", "getpid(2)"),
    SystemCall("prctl", ("newborn",), "rights are given up", "prctl(2)", (_RIGHTS,)),
    SystemCall("prctl", ("worker",), "names of threads", "prctl(2)", (Argument(0, (_PR_NAME,), "PR_SET_NAME"),)),
    SystemCall("prctl", ("worker",), "an archiver dies with its worker", "prctl(2)",
               (Argument(0, (_PR_PDEATHSIG,), "PR_SET_PDEATHSIG"),), only="--journal-archive"),
    SystemCall("getppid", ("worker",), "an archiver whose worker has died already", "getpid(2)", only="--journal-archive"),
    SystemCall("close_range", ("worker",), "an archiver's table is its own", "close_range(2)", only="--journal-archive"),
    SystemCall("setpriority", ("worker",), "an archiver goes last", "getpriority(2)", only="--journal-archive"),
    SystemCall("getpriority", ("worker",), "the same", "getpriority(2)", only="--journal-archive"),
    SystemCall("capget", (*_KEEPERS, "newborn", "worker"), "rights given up; those of a request's caller", "capget(2)"),
    SystemCall("capset", (*_KEEPERS, "newborn", "worker"), "the same", "capget(2)"),
    # the place of a worker in the sandbox
    SystemCall("fsopen", ("newborn",), "its own /proc", "fsopen(2)", (Argument(1, (1,), "FSOPEN_CLOEXEC"),)),
    SystemCall("fsconfig", ("newborn",), "the same; no source, no option", "fsconfig(2)",
               (Argument(1, (6,), "FSCONFIG_CMD_CREATE"),)),
    SystemCall("fsmount", ("newborn",), "the same; at no place", "fsmount(2)",
               (Argument(1, (1,), "FSMOUNT_CLOEXEC"), Argument(2, (0xE,), "nosuid, nodev, noexec"))),
    SystemCall("chroot", ("newborn",), "the share is all that it sees", "chroot(2)"),
    SystemCall("landlock_create_ruleset", ("newborn",), "and all that it may open", "landlock(7)"),
    SystemCall("landlock_add_rule", ("newborn",), "the same", "landlock(7)"),
    SystemCall("landlock_restrict_self", ("newborn",), "the same", "landlock(7)"),
    SystemCall("fchdir", ("newborn", "worker"), "into the journal's directory; attributes of what has no name", "chdir(2)"),
    # ended
    SystemCall("wait4", _KEEPERS, "how a child ended", "wait4(2)"),
    SystemCall("waitid", _KEEPERS, "whether a process is a child, and dead", "wait(2)"),
    SystemCall("rt_sigtimedwait", _KEEPERS, "a signal, or the death of a child or a maker", "sigwaitinfo(2)"),
    SystemCall("wait4", ("worker",), "how an archiver ended", "wait4(2)", only="--journal-archive"),
    SystemCall("wait4", ("sealer",), "how a sealer ended", "wait4(2)"),
    SystemCall("kill", _KEEPERS, "a child", "kill(2)", (_ONE_PROCESS, _TO_END)),
    SystemCall("pidfd_open", (*_KEEPERS, "sealer"), "a child, itself, its maker", "pidfd_open(2)"),
    SystemCall("pidfd_send_signal", _KEEPERS, "the same", "pidfd_send_signal(2)", (_TO_END,)),
    # between them, and with the front-end
    SystemCall("accept4", ("keeper",), "a front-end", "accept(2)"),
    SystemCall("recvmmsg", ("keeper",), "what a front-end says", "recvmmsg(2)"),
    SystemCall("sendmmsg", ("keeper",), "what it is answered", "sendmmsg(2)"),
    SystemCall("getsockname", ("guardian", "keeper", "worker"), "a socket object is made of a descriptor", "getsockname(2)"),
    SystemCall("getpeername", ("guardian", "keeper", "worker"), "a socket object goes", "getpeername(2)"),
    SystemCall("getsockopt", ("keeper", "worker"), "the same; whether a connection was accepted here", "getsockopt(2)"),
    SystemCall("recvfrom", ("keeper", "worker", "archiver", "sealer"), "relay, a spare's word, the archive, deaths", "recv(2)"),
    SystemCall("sendto", ("keeper", "worker", "archiver", "sealer"), "the same", "send(2)", (_NO_ADDRESS,)),
    SystemCall("sendto", ("guardian",), "the log", "send(2)", (_NO_ADDRESS,), only="--syslog"),
    SystemCall("sendto", ("guardian",), "the end of sealing", "send(2)", (_NO_ADDRESS,), only="--journal-seal-key"),
    SystemCall("shutdown", ("guardian",), "the same", "shutdown(2)", only="--journal-seal-key"),
    SystemCall("recvfrom", ("guardian",), "the last seal is waited for", "recv(2)", only="--journal-seal-key"),
    SystemCall("connect", ("guardian", "keeper", "worker", "archiver", "sealer"), "a syslog that was started again",
               "connect(2)", only="--syslog"),
    SystemCall("socketpair", ("worker",), "a spare's rehearsal, an archiver", "socketpair(2)", (_UNIX,)),
    SystemCall("setsockopt", ("worker",), "a spare's rehearsal", "setsockopt(2)", _SNDBUF),
    SystemCall("epoll_create1", ("worker",), "the main loop", "epoll_create(2)"),
    SystemCall("epoll_ctl", ("worker",), "the same", "epoll_ctl(2)"),
    SystemCall("epoll_wait", ("worker",), "the same", "epoll_wait(2)"),
    SystemCall("epoll_pwait", ("worker",), "epoll_wait of aarch64", "epoll_wait(2)"),
    SystemCall("eventfd2", ("worker",), "wake-ups of its threads", "eventfd(2)"),
    SystemCall("pselect6", ("worker",), "how an archiver is waited for at the end", "select(2)", only="--journal-archive"),
    SystemCall("select", ("worker",), "the same, by older C libraries", "select(2)", only="--journal-archive"),
)  # fmt: skip
