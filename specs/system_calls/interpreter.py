"""What Python and the C library need for themselves: memory, time, locks, signals, open files."""

from machine.system_calls import OWN_PID, Argument, SystemCall

_EVERY = ("guardian", "keeper", "newborn", "worker", "archiver", "sealer")
_LONG_LIVED = ("guardian", "keeper", "worker", "archiver", "sealer")

# asm-generic/mman-common.h: PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4
_NOT_EXECUTABLE = Argument(2, (0,), "no PROT_EXEC", bits=64, mask=0xFFFF_FFFF_FFFF_FFFC)
_ADVICE = Argument(2, (4, 8, 14, 15, 16), "MADV_DONTNEED, _FREE, _HUGEPAGE, _NOHUGEPAGE, _DONTDUMP")
# asm-generic/ioctls.h
_OF_DESCRIPTORS = Argument(1, (0x5401, 0x5421, 0x5450, 0x5451), "TCGETS, FIONBIO, FIONCLEX, FIOCLEX")
# include/uapi/linux/fcntl.h
_FLAGS = Argument(1, (1, 2, 3, 4, 1030), "F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC")
_ONLY_LOOK = Argument(2, (0,), "no new limit", bits=64)

INTERPRETER = (
    # memory
    SystemCall("brk", _EVERY, "malloc", "brk(2)"),
    SystemCall("mmap", _EVERY, "malloc, threads' stacks, guest memory, SQLite; nothing is executable that wasn't at the start",
               "mmap(2)", (_NOT_EXECUTABLE,)),
    SystemCall("mprotect", _EVERY, "malloc's arenas, threads' stacks", "mprotect(2)", (_NOT_EXECUTABLE,)),
    SystemCall("mremap", _EVERY, "realloc", "mremap(2)"),
    SystemCall("munmap", _EVERY, "free, and what goes", "munmap(2)"),
    SystemCall("madvise", _EVERY, "free, ends of threads; guest memory stays out of core dumps", "madvise(2)", (_ADVICE,)),
    SystemCall("sysinfo", _LONG_LIVED, "qsort asks how much memory there is", "sysinfo(2)"),
    # time
    SystemCall("clock_gettime", _EVERY, "where the vDSO has no clock", "clock_gettime(2)"),
    SystemCall("clock_nanosleep", _EVERY, "time.sleep", "clock_nanosleep(2)"),
    SystemCall("gettimeofday", _EVERY, "where the vDSO has no clock", "gettimeofday(2)"),
    # locks
    SystemCall("futex", _EVERY, "locks of threads, and of the interpreter", "futex(2)"),
    SystemCall("rseq", ("newborn", "worker", "archiver"), "the C library registers each thread", "rseq(2)"),
    SystemCall("set_robust_list", ("worker", "archiver", "sealer"), "the same", "set_robust_list(2)"),
    SystemCall("sched_yield", _LONG_LIVED, "a spare that waits for its word lets the keeper run", "sched_yield(2)"),
    SystemCall("sched_getaffinity", _LONG_LIVED, "malloc makes arenas by the number of processors", "sched_setaffinity(2)"),
    # signals
    SystemCall("rt_sigaction", _EVERY, "handlers change with the role", "sigaction(2)"),
    SystemCall("rt_sigprocmask", _EVERY, "none comes between a clone and its handlers", "sigprocmask(2)"),
    SystemCall("rt_sigreturn", _EVERY, "the end of a handler", "sigreturn(2)"),
    SystemCall("restart_syscall", _EVERY, "the kernel has it called after a SIGCONT", "restart_syscall(2)"),
    # A filter knows the pid of who took it, and not those of its heirs: neither a keeper's nor an archiver's.
    SystemCall("tgkill", ("worker",), "abort", "tgkill(2)", (Argument(0, (OWN_PID,), "its own pid"),)),
    SystemCall("tgkill", ("guardian", "keeper", "newborn", "sealer"), "abort", "tgkill(2)", (Argument(2, (6,), "SIGABRT"),)),
    # who
    SystemCall("getpid", _EVERY, "abort, SQLite's locks, log lines", "getpid(2)"),
    SystemCall("gettid", _EVERY, "abort, the interpreter's thread", "gettid(2)"),
    SystemCall("geteuid", _LONG_LIVED, "SQLite's files get their owner, directories are looked at", "getuid(2)"),
    SystemCall("getegid", ("worker",), "new files in directories with a group", "getgid(2)"),
    SystemCall("getrandom", _EVERY, "seeds, temporary names", "getrandom(2)"),
    SystemCall("prlimit64", _LONG_LIVED, "how many descriptors there may be", "getrlimit(2)", (_ONLY_LOOK,)),
    # descriptors
    SystemCall("read", _EVERY, "wake-ups, doorbells, files", "read(2)"),
    SystemCall("write", _EVERY, "the log, wake-ups, doorbells", "write(2)"),
    SystemCall("close", _EVERY, "what goes", "close(2)"),
    SystemCall("dup3", _LONG_LIVED, "a descriptor gets its lasting number", "dup(2)"),
    SystemCall("fcntl", _EVERY, "close-on-exec, non-blocking, copies", "fcntl(2)", (_FLAGS,)),
    SystemCall("ioctl", _EVERY, "open() asks for a terminal; non-blocking, close-on-exec", "ioctl(2)", (_OF_DESCRIPTORS,)),
    SystemCall("lseek", _EVERY, "open() asks for the position; listings, SEEK_HOLE", "lseek(2)"),
    SystemCall("fstat", _EVERY, "os.fstat", "stat(2)"),
    SystemCall("newfstatat", _EVERY, "os.stat, and os.fstat of newer C libraries", "stat(2)"),
    SystemCall("openat", _EVERY, "everything that has a path; what a path leads to the sandbox bounds", "open(2)"),
    SystemCall("getdents64", _EVERY, "which descriptors there are", "getdents(2)"),
    SystemCall("poll", _LONG_LIVED, "the loops", "poll(2)"),
    SystemCall("ppoll", _LONG_LIVED, "poll of aarch64", "poll(2)"),
    # the end
    SystemCall("exit", ("worker",), "the end of a thread", "exit(2)"),
    SystemCall("exit_group", _EVERY, "the end", "exit_group(2)"),
)  # fmt: skip
