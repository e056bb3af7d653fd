"""Exit codes of steadfsd: a part of its interface, so that whoever starts it can tell the causes apart."""

from enum import IntEnum


class Exit(IntEnum):
    """Why the daemon ended."""

    OK = 0
    USAGE = 2
    SHARED_DIR = 3
    SOCKET = 4
    JOURNAL_DIR = 5
    JOURNAL_IN_USE = 6
    PRIVILEGES = 7
    STATE_LOST = 8
    ARCHIVE = 9
    LIMIT = 10
    SECCOMP = 11
    SEALS = 12
    INTERNAL = 70


MEANINGS = {
    Exit.OK: "the front-end has closed the connection, or the daemon was told to end",
    Exit.USAGE: "an option is unknown, lacks its value, contradicts another or is not supported",
    Exit.SHARED_DIR: "the shared directory can't be used",
    Exit.SOCKET: "the socket is in use or can't be used",
    Exit.JOURNAL_DIR: "the journal directory can't be used",
    Exit.JOURNAL_IN_USE: "another daemon uses the journal directory",
    Exit.PRIVILEGES: "the process lacks a privilege, or a file system, that it needs",
    Exit.STATE_LOST: "the journal is damaged, and so is what would be needed to answer the guest's requests",
    Exit.ARCHIVE: "the archive directory can't be used, or another daemon uses it",
    Exit.LIMIT: "a limit of the process, its cgroup or the system is too low",
    Exit.SECCOMP: "the kernel has no filters of system calls",
    Exit.SEALS: "the key or the file of the journal's seals can't be used",
    Exit.INTERNAL: "an error of the program itself",
}
