"""Every option of steadfsd, one row each: parsing, `--help` and docs/options.md are read off this table."""

from dataclasses import dataclass
from typing import Literal

from specs.limits import LIMIT

QUEUES_MAX = LIMIT["request_queues_max"]
QUEUES_OFFERED = LIMIT["request_queues_offered"]
POLL_NS_MAX = LIMIT["poll_ns_max"]
POLL_NS_LIMIT = 1_000_000  # a thread that spins longer than a millisecond burns a core for nothing
WATCHDOG_S_LIMIT = 3600  # longer than an hour is never
ARCHIVE_FILE_MIB_MAX = 1 << 10  # a worker that goes on with a file reads it first: about 30 s for 1 GiB, beside the requests
ARCHIVE_HOURS_MAX = 24 * 366
ARCHIVE_KEEP_MIB_MAX = 1 << 30
ARCHIVE_KEEP_DAYS_MAX = 366 * 100
NOFILE_LIMIT = 1 << 30  # the kernel's own ceiling for nr_open is below

Kind = Literal["flag", "path", "text", "tag", "number", "choice", "capabilities"]


@dataclass(frozen=True, slots=True)
class OptionRow:
    """`field` of Options that `name` sets; a flag sets it to `sets`. Numbers lie in `span`, choices in `choices`."""

    name: str
    field: str
    kind: Kind
    default: str
    doc: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    span: tuple[int, int] = (0, 0)
    sets: bool = True
    ours: bool = False


ROWS = (
    OptionRow("--shared-dir", "shared_dir", "path", "required", "the directory that the guest sees", "DIR"),
    OptionRow(
        "--socket-path", "socket_path", "path", "this or --fd",
        "listen at this path; a dead daemon's socket is replaced, PATH.pid is locked and names the process", "PATH",
    ),
    OptionRow("--socket", "socket_path", "path", "", "deprecated name of --socket-path", "PATH"),
    OptionRow(
        "--fd", "fd", "number", "", "listen on this inherited descriptor, a listening unix socket; excludes "
        "--socket-path and --socket-group", "N", span=(0, 1 << 20),
    ),
    OptionRow(
        "--socket-group", "socket_group", "text", "none", "give the socket to this group and let it connect", "GROUP",
    ),
    OptionRow(
        "--tag", "tag", "tag", "none", "tell the front-end this tag, at most 36 bytes (User-Mode Linux needs it; QEMU "
        "has its own and ignores it, QEMU 7.1 to 8.0 crash over it)", "TAG",
    ),
    OptionRow(
        "--thread-pool-size", "thread_pool_size", "number", "0", "threads for requests that would block; 0: the "
        "daemon's own choice", "N", span=(0, LIMIT["pool_threads_max"]),
    ),
    OptionRow(
        "--cache", "cache", "choice", "auto", "how long the guest may trust attributes and names: not at all, a day "
        "(but no file data), a second, a day", "MODE", ("never", "metadata", "auto", "always"),
    ),
    OptionRow("--writeback", "writeback", "flag", "off", "let the guest delay writes"),
    OptionRow("--xattr", "xattr", "flag", "off", "extended attributes"),
    OptionRow("--readonly", "readonly", "flag", "off", "refuse every change of the shared directory"),
    OptionRow(
        "--allow-direct-io", "allow_direct_io", "flag", "off", "pass the guest's O_DIRECT on to the host's files",
    ),
    OptionRow("--no-readdirplus", "readdirplus", "flag", "off", "list directories without attributes", sets=False),
    OptionRow("--announce-submounts", "announce_submounts", "flag", "on", "mounts below the share show as such"),
    OptionRow(
        "--no-announce-submounts", "announce_submounts", "flag", "off",
        "the guest sees one file system; inode numbers may repeat in it", sets=False,
    ),
    OptionRow(
        "--inode-file-handles", "inode_file_handles", "choice", "never", "find inodes again by file handle instead "
        "of holding a descriptor for each; a worker that was taken over opens any file of the share's file systems then, and "
        "Landlock doesn't hold its files", "MODE", ("never", "prefer", "mandatory"),
    ),
    OptionRow(
        "--rlimit-nofile", "rlimit_nofile", "number", "1000000 or the most allowed",
        "limit of open descriptors; 0 leaves it as it is", "N", span=(0, NOFILE_LIMIT),
    ),
    OptionRow(
        "--sandbox", "sandbox", "choice", "namespace", "what the daemon still sees: `namespace` nothing but the share, no "
        "network, no process, in namespaces of its own (without root's rights in a user namespace); `chroot` no file but "
        "the share's; `none` all", "MODE", ("namespace", "chroot", "none"),
    ),
    OptionRow(
        "--modcaps", "modcaps", "capabilities", "none", "give workers capabilities that they don't have by default, or take "
        "them away: names of capabilities(7) with + or - before them, as +sys_admin:-mknod", "+CAP:-CAP...",
    ),
    OptionRow(
        "--seccomp", "seccomp", "choice", "kill", "what becomes of a system call that the daemon has no use for: it "
        "`kill`s the process, which is replaced as after any fault of its own; it passes, and the kernel's audit `log`s it; a "
        "`trap` tells on standard error which one it is, and ends the process; `none`: calls aren't filtered", "MODE",
        ("kill", "log", "trap", "none"),
    ),
    OptionRow(
        "--log-level", "log_level", "choice", "info", "what is logged to standard error", "LEVEL",
        ("error", "warn", "info", "debug", "trace", "off"),
    ),
    OptionRow("--syslog", "syslog", "flag", "off", "log to syslog instead"),
    OptionRow(
        "--journal-dir", "journal_dir", "path", "a new one on tmpfs", "where the journal lies; on tmpfs, mode 0700, "
        "used by one daemon at a time", "DIR", ours=True,
    ),
    OptionRow(
        "--journal-on-disk", "journal_on_disk", "flag", "off", "accept a journal directory that is not on tmpfs",
        ours=True,
    ),
    OptionRow(
        "--journal-archive", "journal_archive", "path", "history is deleted", "keep the journal's history in this "
        "directory, compressed, before it is deleted from the journal; on a disk, mode 0700, used by one daemon at a time",
        "DIR", ours=True,
    ),
    OptionRow(
        "--journal-archive-policy", "journal_archive_policy", "choice", "hold", "when the archive can't be written and "
        "64 MiB of history wait for it: hold requests that change state until it can, or drop the oldest history and "
        "record what is missing", "POLICY", ("hold", "drop"), ours=True,
    ),
    OptionRow(
        "--journal-archive-file-mib", "journal_archive_file_mib", "number", "64", "begin a new file at this size, "
        "compressed, in MiB", "N", span=(1, ARCHIVE_FILE_MIB_MAX), ours=True,
    ),
    OptionRow(
        "--journal-archive-file-hours", "journal_archive_file_hours", "number", "24", "begin a new file at this age", "N",
        span=(1, ARCHIVE_HOURS_MAX), ours=True,
    ),
    OptionRow(
        "--journal-archive-keep-mib", "journal_archive_keep_mib", "number", "0", "remove the oldest files beyond this "
        "size in all, in MiB; 0: none", "N", span=(0, ARCHIVE_KEEP_MIB_MAX), ours=True,
    ),
    OptionRow(
        "--journal-archive-keep-days", "journal_archive_keep_days", "number", "0", "remove files whose last entry is "
        "older; 0: none", "N", span=(0, ARCHIVE_KEEP_DAYS_MAX), ours=True,
    ),
    OptionRow(
        "--journal-seal-key", "journal_seal_key", "path", "history is not sealed", "seal where the journal's history ends, "
        "every second while it grows, with this key (of steadfs-audit seal-key), which changes with each seal; mode 0600, used "
        "by one daemon at a time", "FILE", ours=True,
    ),
    OptionRow(
        "--journal-seals", "journal_seals", "path", "FILE.seals", "append the seals to this file, not to one beside the key",
        "FILE", ours=True,
    ),
    OptionRow(
        "--allow-inode-flags", "allow_inode_flags", "flag", "off", "let the guest set IMMUTABLE and APPEND flags, which keep "
        "the host's root from its files as well, and project ids, by which it leaves its quota", ours=True,
    ),
    OptionRow(
        "--keep-listening", "keep_listening", "flag", "off", "serve the next front-end when one has gone, instead of "
        "ending", ours=True,
    ),
    OptionRow(
        "--request-queues", "request_queues", "number", str(QUEUES_OFFERED), "request queues offered", "N",
        span=(1, QUEUES_MAX), ours=True,
    ),
    OptionRow(
        "--watchdog", "watchdog", "number", "0", "replace a worker that makes no progress for so many seconds; 0: never, "
        "since a slow disk below the share would look the same", "SECONDS", span=(0, WATCHDOG_S_LIMIT), ours=True,
    ),
    OptionRow(
        "--poll-ns-max", "poll_ns_max", "number", str(POLL_NS_MAX), "longest spin for the next request before a "
        "thread sleeps, in nanoseconds; 0: never spin", "NS", span=(0, POLL_NS_LIMIT), ours=True,
    ),
)  # fmt: skip

# What libvirt and old scripts say with -o: name -> (option, value that the bare word gives, or None when it takes one).
COMPAT: dict[str, tuple[str, str | None]] = {
    "source": ("--shared-dir", None),
    "cache": ("--cache", None),
    "loglevel": ("--log-level", None),
    "log_level": ("--log-level", None),
    "sandbox": ("--sandbox", None),
    "modcaps": ("--modcaps", None),
    "xattr": ("--xattr", "on"),
    "no_xattr": ("--xattr", "off"),
    "writeback": ("--writeback", "on"),
    "no_writeback": ("--writeback", "off"),
    "readdirplus": ("--no-readdirplus", "off"),
    "no_readdirplus": ("--no-readdirplus", "on"),
    "allow_direct_io": ("--allow-direct-io", "on"),
    "no_allow_direct_io": ("--allow-direct-io", "off"),
    "announce_submounts": ("--announce-submounts", "on"),
}
# Values that the C daemon spelt otherwise.
COMPAT_VALUES = {
    ("cache", "none"): "never",
    ("log_level", "err"): "error",
    ("loglevel", "err"): "error",
}
# What these switch off is never on here.
COMPAT_IGNORED = ("no_posix_lock", "no_flock", "no_posix_acl", "no_security_label")

# virtiofsd's options that we know and don't have; the value tells whether one follows.
UNSUPPORTED = {
    "--allow-mmap": False,
    "--xattrmap": True,
    "--posix-acl": False,
    "--security-label": False,
    "--killpriv-v2": False,
    "--no-killpriv-v2": False,
    "--preserve-noatime": False,
    "--uid-map": True,
    "--gid-map": True,
    "--translate-uid": True,
    "--translate-gid": True,
    "--migration-mode": True,
    "--migration-on-error": True,
    "--migration-verify-handles": False,
    "--migration-confirm-paths": False,
    "--daemonize": False,
}
