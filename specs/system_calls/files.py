"""Files: the guest's, the journal's, the archive's, and the few that guardian and keeper write."""

from machine.system_calls import Argument, SystemCall

_KEEPERS = ("guardian", "keeper")

# include/uapi/linux/fs.h
_OF_INODES = Argument(
    1, (0x8008_6601, 0x4008_6602, 0x801C_581F, 0x401C_5820),
    "FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR",
)  # fmt: skip
_LOCKS_AND_SEALS = Argument(1, (5, 6, 1033), "F_GETLK, F_SETLK, F_ADD_SEALS")
_CLONE_FS = Argument(0, (0x200,), "CLONE_FS")

FILES = (
    # looked at
    SystemCall("statx", ("worker",), "attributes of inodes", "statx(2)"),
    SystemCall("stat", ("worker",), "older C libraries' os.stat", "stat(2)"),
    SystemCall("lstat", ("worker",), "the same", "stat(2)"),
    SystemCall("statfs", ("worker",), "whether there is room for a rehearsal", "statfs(2)"),
    SystemCall("fstatfs", ("worker",), "STATFS; which file system an inode is in", "statfs(2)"),
    SystemCall("readlink", ("newborn", "worker"), "its pid; SQLite's names", "readlink(2)"),
    SystemCall("readlinkat", ("newborn", "worker"), "the same; READLINK", "readlink(2)"),
    SystemCall("access", ("worker",), "os.access", "access(2)"),
    SystemCall("faccessat", ("worker",), "os.access", "access(2)"),
    SystemCall("faccessat2", ("worker",), "os.access with a descriptor", "access(2)"),
    SystemCall("getcwd", ("worker",), "SQLite's relative names", "getcwd(2)"),
    SystemCall("name_to_handle_at", ("worker",), "an inode is found again", "open_by_handle_at(2)"),
    SystemCall("open_by_handle_at", ("worker",), "the same", "open_by_handle_at(2)", only="--inode-file-handles"),
    SystemCall("getxattr", ("worker",), "GETXATTR", "getxattr(2)"),
    SystemCall("listxattr", ("worker",), "LISTXATTR", "listxattr(2)"),
    SystemCall("getxattrat", ("worker",), "GETXATTR since Linux 6.13", "getxattr(2)"),
    SystemCall("listxattrat", ("worker",), "LISTXATTR since Linux 6.13", "listxattr(2)"),
    # what is in them
    SystemCall("pread64", ("worker", "archiver", "sealer"), "SQLite, slots, an archive or seals that go on", "pread(2)"),
    SystemCall("preadv2", ("worker",), "READ", "readv(2)"),
    SystemCall("pwrite64", (*_KEEPERS, "worker", "archiver", "sealer"), "pid files, SQLite, archives, a key", "pread(2)"),
    SystemCall("pwritev2", ("worker",), "WRITE", "readv(2)"),
    SystemCall("ftruncate", (*_KEEPERS, "worker", "archiver"), "pid files, SETATTR, SQLite, archives", "truncate(2)"),
    SystemCall("fallocate", ("worker",), "FALLOCATE; slots and status page", "fallocate(2)"),
    SystemCall("copy_file_range", ("worker",), "COPY_FILE_RANGE", "copy_file_range(2)"),
    SystemCall("fsync", ("worker", "archiver"), "FSYNC", "fsync(2)"),
    SystemCall("fdatasync", ("worker", "archiver", "sealer"), "FSYNC, SQLite, archives, seals", "fsync(2)"),
    SystemCall("syncfs", ("worker",), "SYNCFS", "sync(2)"),
    SystemCall("flock", ("guardian", "worker", "archiver"), "locks of the journal and of the archive", "flock(2)"),
    SystemCall("fcntl", ("worker",), "SQLite's locks; the in-flight region is sealed", "fcntl(2)", (_LOCKS_AND_SEALS,)),
    SystemCall("memfd_create", ("worker",), "the in-flight region", "memfd_create(2)"),
    # what they are
    SystemCall("mkdir", ("worker",), "a rehearsal's directory", "mkdir(2)"),
    SystemCall("mkdirat", ("worker",), "MKDIR", "mkdir(2)"),
    SystemCall("mknodat", ("worker",), "MKNOD", "mknod(2)"),
    SystemCall("linkat", ("worker",), "LINK, files made by O_TMPFILE", "link(2)"),
    SystemCall("symlinkat", ("worker",), "SYMLINK", "symlink(2)"),
    SystemCall("rename", ("worker", "archiver"), "a copy takes the place of the one before", "rename(2)"),
    SystemCall("renameat", ("worker", "archiver"), "the same on aarch64, or in a directory", "rename(2)"),
    SystemCall("renameat2", ("worker",), "RENAME, RENAME2", "rename(2)"),
    SystemCall("unlink", ("guardian", "worker"), "SQLite's files", "unlink(2)"),
    SystemCall("unlinkat", (*_KEEPERS, "worker", "archiver"), "the socket, the journal at the end; UNLINK, RMDIR", "unlink(2)"),
    SystemCall("rmdir", ("guardian", "worker"), "the journal's directory, a rehearsal's", "rmdir(2)"),
    SystemCall("fchmod", ("worker",), "SQLite's files", "chmod(2)"),
    SystemCall("fchmodat", ("worker",), "SETATTR", "chmod(2)"),
    SystemCall("fchown", ("worker",), "SQLite's files", "chown(2)"),
    SystemCall("fchownat", ("worker",), "SETATTR", "chown(2)"),
    SystemCall("utimensat", ("worker",), "SETATTR", "utimensat(2)"),
    SystemCall("setxattr", ("worker",), "SETXATTR", "setxattr(2)"),
    SystemCall("removexattr", ("worker",), "REMOVEXATTR", "removexattr(2)"),
    SystemCall("setxattrat", ("worker",), "SETXATTR since Linux 6.13", "setxattr(2)"),
    SystemCall("removexattrat", ("worker",), "REMOVEXATTR since Linux 6.13", "removexattr(2)"),
    SystemCall("ioctl", ("worker",), "IOCTL", "ioctl_iflags(2)", (_OF_INODES,)),
    # as whom
    SystemCall("setfsuid", ("worker",), "as a request's caller", "setfsuid(2)"),
    SystemCall("setfsgid", ("worker",), "the same", "setfsgid(2)"),
    SystemCall("getgroups", ("worker",), "the same", "getgroups(2)"),
    SystemCall("setgroups", ("worker",), "the same", "getgroups(2)"),
    SystemCall("umask", ("worker",), "the guest's umask has been applied; the journal's files", "umask(2)"),
    SystemCall("unshare", ("worker",), "a thread's own working directory and umask", "unshare(2)", (_CLONE_FS,)),
)  # fmt: skip
