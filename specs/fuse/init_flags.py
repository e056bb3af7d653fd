"""FUSE_INIT flags (include/uapi/linux/fuse.h, 7.45): what we take when the guest offers it.

`offered` flags are answered when the guest offers them and the option that `why` names, if any, allows it. What the guest's
kernel leaves to us from then on is in `duty`, with what does it; a flag is only taken when all of that is done.
"""

from machine.rows import Flag

INIT_FLAGS = (
    Flag("ASYNC_READ", 0, True, duty="reads of one file overlap and come in any order: each has its offset"),
    Flag("POSIX_LOCKS", 1, False, "remote locks come later; the guest keeps them to itself"),
    Flag("FILE_OPS", 2, False, "unused since 7.9"),
    Flag("ATOMIC_O_TRUNC", 3, True, duty="OPEN and CREATE truncate by themselves: the host's O_TRUNC, with a witness"),
    Flag("EXPORT_SUPPORT", 4, False, "'.' and '..' are not looked up"),
    Flag("BIG_WRITES", 5, True, duty="writes longer than a page: up to max_write_bytes"),
    Flag("DONT_MASK", 6, False, "comes with POSIX ACLs; the guest applies the umask"),
    Flag("SPLICE_WRITE", 7, False, "/dev/fuse only"),
    Flag("SPLICE_MOVE", 8, False, "/dev/fuse only"),
    Flag("SPLICE_READ", 9, False, "/dev/fuse only"),
    Flag("FLOCK_LOCKS", 10, False, "remote locks come later; the guest keeps them to itself"),
    Flag("HAS_IOCTL_DIR", 11, True, duty="IOCTL of a directory: on a descriptor of its own of the inode"),
    Flag("AUTO_INVAL_DATA", 12, True, duty="size and mtime tell when data was changed beside the guest: they are the host's"),
    Flag("DO_READDIRPLUS", 13, True, "readdirplus", duty="one lookup count for each entry but . and ..: intern_all"),
    Flag(
        "READDIRPLUS_AUTO", 14, True, "readdirplus",
        duty="READDIR and READDIRPLUS go on from each other's cookies: both are the host's d_off",
    ),
    Flag("ASYNC_DIO", 15, True, duty="direct reads and writes of one file overlap: each has its offset"),
    Flag(
        "WRITEBACK_CACHE", 16, True, "writeback",
        duty="pages are read of files that are open for writing only: opened for both; appends are placed by the guest: no "
        "O_APPEND; times are the guest's: SETATTR sets them, but for ctime, which no host lets be set",
    ),
    Flag("NO_OPEN_SUPPORT", 17, False, "handles carry the guest's open files"),
    Flag("PARALLEL_DIROPS", 18, True, duty="lookups and listings of one directory overlap: a listing has its handle's lock"),
    Flag("HANDLE_KILLPRIV", 19, False, "version 2 replaces it"),
    Flag("POSIX_ACL", 20, False, "comes later"),
    Flag("ABORT_ERROR", 21, False, "/dev/fuse only"),
    Flag("MAX_PAGES", 22, True, duty="requests of max_pages_pages pages: up to LANE_IOV_MAX pieces of guest memory"),
    Flag("CACHE_SYMLINKS", 23, False, "a host may replace a symlink"),
    Flag("NO_OPENDIR_SUPPORT", 24, False, "directory handles carry positions"),
    Flag("EXPLICIT_INVAL_DATA", 25, False, "nobody would invalidate: virtio-fs has no notifications"),
    Flag("MAP_ALIGNMENT", 26, False, "comes with DAX"),
    Flag(
        "SUBMOUNTS", 27, True, "announce_submounts",
        duty="attr.flags of a directory on another mount; SYNCFS and STATFS by nodeid, of its own mount",
    ),
    Flag(
        "HANDLE_KILLPRIV_V2", 28, True, "set-id bits are cleared where the data changes",
        duty="set-id bits and capabilities go with a WRITE, an OPEN or a SETATTR of size that asks for it, with FALLOCATE "
        "and COPY_FILE_RANGE of others than root, with every chown, and with a SETATTR that sets nothing, which is a "
        "chown to nobody: killpriv_begin, set_owner",
    ),
    Flag("SETXATTR_EXT", 29, True, duty="the longer structure, and FUSE_SETXATTR_ACL_KILL_SGID in it: drop_sgid"),
    Flag("INIT_EXT", 30, True, duty="the upper 32 flags, asked for and answered"),
    Flag("INIT_RESERVED", 31, False, "reserved"),
    Flag("SECURITY_CTX", 32, False, "comes with --security-label"),
    Flag("HAS_INODE_DAX", 33, False, "comes with DAX"),
    Flag(
        "CREATE_SUPP_GROUP", 34, True,
        duty="new names are made with the group that the request's extension tells, and without more rights: act_as_caller",
    ),
    Flag("HAS_EXPIRE_ONLY", 35, False, "notifications"),
    Flag("DIRECT_IO_ALLOW_MMAP", 36, False, "comes with --allow-mmap"),
    Flag("PASSTHROUGH", 37, False, "/dev/fuse only"),
    Flag("NO_EXPORT_SUPPORT", 38, False, "an inode can be found again by its nodeid"),
    Flag("HAS_RESEND", 39, False, "notifications"),
    Flag("ALLOW_IDMAP", 40, False, "comes with uid translation"),
    Flag("OVER_IO_URING", 41, False, "/dev/fuse only"),
    Flag("REQUEST_TIMEOUT", 42, False, "a guest with a time-out would abort the mount during a recovery"),
)
