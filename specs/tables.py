"""What the guest holds: inodes by nodeid, handles by fh, the mounts that they lie on.

Nearly every request moves one of them. So the code that does it takes the row by its name below, and the texts of transitions
are made of the rows' words (fuse/host/record_texts.py), for Python and for C alike. The journal calls a state what it is called
here; no code spells it.

Why the three belong together: a nodeid or an fh is a promise to the guest, which may come back with it after any number of
dead workers. The promise can be kept by a descriptor that outlives the worker, or by a file handle with a descriptor of its
mount. So a mount is met before the first inode that is found again by it, and it is left with the last.
"""

from machine.table import Effect, Event, Refusal, Row, Table

_INODE = ("state", "nlookup", "dev", "ino", "mnt", "mode", "fd", "handle")
_HANDLE = ("state", "nodeid", "flags", "fd")
_TRAFFIC = ("reads", "writes", "bytes_read", "bytes_written")

# The guest's kernel counts: each reply that names an inode adds one lookup count, FORGET gives some back. The record lives
# while the count isn't 0, which is why `forget_last` is an event of its own: it is the only one that removes. Counts are
# effects of verb `add`, so a transition says how much was added and not what the sum became, and can be taken back by
# another.
#
# Nodeids and fhs are never used twice, across sessions too. A guest that holds an old number gets an error, not somebody
# else's file.
# An inode lives from the first reply that tells the guest of it to the FORGET that gives the last of its lookup counts back.
# The guest's kernel counts too, and exactly. With one too few on our side, an inode that the guest still uses is gone; with one
# too many, it stays until the session ends. So each reply with an entry is a transition, though all but the first only count.
#
# A file handle finds an inode only as long as it has a name or somebody holds it. The guest may hold one without a name by less
# than an open file: a working directory, a FIFO, a symlink. When its last name goes it becomes one that is held by descriptor.
FIRST_ENTRY = Row(("absent",), ("entry",), "live", (Effect("put", "inode", _INODE),), "fuse.h: FUSE_LOOKUP, fuse_entry_out")
ENTRY_AGAIN = Row(("live",), ("entry",), "live", (Effect("add", "inode", ("nlookup",)),))
LAST_NAME_GONE = Row(("live",), ("unnamed",), "live", (Effect("set", "inode", ("fd",)),), "unlink(2), open_by_handle_at(2)")
SOME_FORGOTTEN = Row(("live",), ("forget",), "live", (Effect("add", "inode", ("nlookup",)),), "fuse.h: FUSE_FORGET")
ALL_FORGOTTEN = Row(("live",), ("forget_last",), "absent", (Effect("delete", "inode"),))
_ROOT_FORGOTTEN = Row(("live",), ("forget_root",), "live")

INODE = Table(
    name="inode",
    key="nodeid, never used twice in a session; 1 is the root",
    states=("absent", "live"),
    absent="absent",
    events=(
        Event("entry", "a reply gives the guest one lookup count"),
        Event("unnamed", "UNLINK, RMDIR or RENAME took its last name: from now on its descriptor holds it"),
        Event("forget", "the guest gives back some of its lookup counts"),
        Event("forget_last", "the guest gives back all of them"),
        Event("forget_root", "the guest drops the root, which no FORGET removes"),
    ),
    rows=(FIRST_ENTRY, ENTRY_AGAIN, LAST_NAME_GONE, SOME_FORGOTTEN, ALL_FORGOTTEN, _ROOT_FORGOTTEN),
    refusals=(
        Refusal(("absent",), ("forget", "forget_last", "forget_root"), "ignore", "FORGET has no reply to refuse with"),
        Refusal(("absent",), ("unnamed",), "EIO", "only what the guest knows is held for it"),
    ),
    fields=_INODE,
    doc="An inode that the guest knows; `fd` names an O_PATH descriptor unless a file `handle` finds it again.",
    cite="Documentation/filesystems/fuse.rst",
)

# A handle is a descriptor that outlives the worker: the record names it by number. What was read and written through it is
# counted without the journal and told once, when the handle ends, so that data traffic costs no commits.
# File and directory are two states, since RELEASE and RELEASEDIR end one kind each, and a guest that mixes them up is refused.
# What went through a handle is told when it ends: reads and writes are no transitions (they never wait for the journal).
FILE_OPENED = Row(("absent",), ("open",), "file", (Effect("put", "handle", _HANDLE),), "fuse.h: fuse_open_out")
DIRECTORY_OPENED = Row(("absent",), ("opendir",), "directory", (Effect("put", "handle", _HANDLE),))
FILE_RELEASED = Row(("file",), ("release",), "absent", (Effect("delete", "handle", _TRAFFIC),), "fuse.h: fuse_release_in")
DIRECTORY_RELEASED = Row(("directory",), ("releasedir",), "absent", (Effect("delete", "handle", _TRAFFIC),))

HANDLE = Table(
    name="handle",
    key="fh, never used twice in a session",
    states=("absent", "file", "directory"),
    absent="absent",
    events=(
        Event("open", "OPEN, CREATE or TMPFILE"),
        Event("opendir", "OPENDIR"),
        Event("release", "RELEASE"),
        Event("releasedir", "RELEASEDIR"),
    ),
    rows=(FILE_OPENED, DIRECTORY_OPENED, FILE_RELEASED, DIRECTORY_RELEASED),
    refusals=(
        Refusal(("file", "directory"), ("open", "opendir"), "EIO", "an fh is given once"),
        Refusal(("absent",), ("release", "releasedir"), "EBADF", "no such handle"),
        Refusal(("directory",), ("release",), "EBADF", "a directory's handle ends with RELEASEDIR"),
        Refusal(("file",), ("releasedir",), "EBADF", "a file's handle ends with RELEASE"),
    ),
    fields=(*_HANDLE, *_TRAFFIC),
    doc="An open file or directory; `fd` is the descriptor, which outlives the worker. Its data traffic is told at its end.",
    cite="include/uapi/linux/fuse.h",
)

# Inodes are found again by file handles, for which the kernel wants a descriptor on the same mount. One is kept for each
# mount that was met. It goes with the last inode there, so that the host can unmount what the guest has forgotten. An open file
# keeps its mount busy by itself.
MOUNT_MET = Row(("unknown",), ("meet",), "known", (Effect("put", "mount", ("state", "fd")),))
MOUNT_LEFT = Row(("known",), ("leave",), "unknown", (Effect("delete", "mount"),))

MOUNT = Table(
    name="mount",
    key="mnt_id of statx(2)",
    states=("unknown", "known"),
    absent="unknown",
    events=(
        Event("meet", "the first inode with a file handle on this mount"),
        Event("leave", "no inode there is left"),
    ),
    rows=(MOUNT_MET, MOUNT_LEFT),
    refusals=(
        Refusal(("known",), ("meet",), "EIO", "it is known"),
        Refusal(("unknown",), ("leave",), "EIO", "nothing is held there"),
    ),
    fields=("state", "fd"),
    doc="A mount below the share; `fd` lets open_by_handle_at(2) find its inodes again.",
    cite="open_by_handle_at(2)",
)
