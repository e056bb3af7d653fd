"""What the guest holds: inodes by nodeid, handles by fh, the mounts that they lie on."""

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
INODE = Table(
    name="inode",
    key="nodeid, never used twice in a session; 1 is the root",
    states=("absent", "live"),
    absent="absent",
    events=(
        Event("entry", "a reply gives the guest one lookup count"),
        Event("forget", "the guest gives back some of its lookup counts"),
        Event("forget_last", "the guest gives back all of them"),
        Event("forget_root", "the guest drops the root, which no FORGET removes"),
    ),
    rows=(
        Row(("absent",), ("entry",), "live", (Effect("put", "inode", _INODE),), "fuse.h: FUSE_LOOKUP, fuse_entry_out"),
        Row(("live",), ("entry",), "live", (Effect("add", "inode", ("nlookup",)),)),
        Row(("live",), ("forget",), "live", (Effect("add", "inode", ("nlookup",)),), "fuse.h: FUSE_FORGET"),
        Row(("live",), ("forget_last",), "absent", (Effect("delete", "inode"),)),
        Row(("live",), ("forget_root",), "live"),
    ),
    refusals=(
        Refusal(("absent",), ("forget", "forget_last", "forget_root"), "ignore", "FORGET has no reply to refuse with"),
    ),
    fields=_INODE,
    doc="An inode that the guest knows; `fd` names an O_PATH descriptor unless a file `handle` finds it again.",
    cite="Documentation/filesystems/fuse.rst",
)

# A handle is a descriptor that outlives the worker: the record names it by number. What was read and written through it is
# counted without the journal and told once, when the handle ends, so that data traffic costs no commits.
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
    rows=(
        Row(("absent",), ("open",), "file", (Effect("put", "handle", _HANDLE),), "fuse.h: fuse_open_out"),
        Row(("absent",), ("opendir",), "directory", (Effect("put", "handle", _HANDLE),)),
        Row(("file",), ("release",), "absent", (Effect("delete", "handle", _TRAFFIC),), "fuse.h: fuse_release_in"),
        Row(("directory",), ("releasedir",), "absent", (Effect("delete", "handle", _TRAFFIC),)),
    ),
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
# mount that was met. It isn't given back when its last inode goes: the next lookup there would only open it again.
MOUNT = Table(
    name="mount",
    key="mnt_id of statx(2)",
    states=("unknown", "known"),
    absent="unknown",
    events=(Event("meet", "the first inode with a file handle on this mount"),),
    rows=(Row(("unknown",), ("meet",), "known", (Effect("put", "mount", ("state", "fd")),)),),
    refusals=(Refusal(("known",), ("meet",), "EIO", "it is known"),),
    fields=("state", "fd"),
    doc="A mount below the share; `fd` lets open_by_handle_at(2) find its inodes again.",
    cite="open_by_handle_at(2)",
)
