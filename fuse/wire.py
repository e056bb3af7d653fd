"""FUSE structures as `struct` codecs, made from `specs.fuse.structs`."""

from struct import Struct

from specs.fuse.structs import FUSE_STRUCTS

CODECS: dict[str, Struct] = {row.name: Struct("=" + "".join(code for _, code in row.fields)) for row in FUSE_STRUCTS}
FIELDS: dict[str, tuple[str, ...]] = {row.name: tuple(name for name, _ in row.fields) for row in FUSE_STRUCTS}

IN_HEADER = CODECS["fuse_in_header"]
OUT_HEADER = CODECS["fuse_out_header"]
ENTRY_OUT = CODECS["fuse_entry_out"]
ATTR_OUT = CODECS["fuse_attr_out"]
OPEN_OUT = CODECS["fuse_open_out"]
FORGET_ONE = CODECS["fuse_forget_one"]
DIRENT = CODECS["fuse_dirent"]
INIT_OUT = CODECS["fuse_init_out"]
IOCTL_OUT = CODECS["fuse_ioctl_out"]
EXT_HEADER = CODECS["fuse_ext_header"]
SUPP_GROUPS = CODECS["fuse_supp_groups"]

FUSE_ROOT_ID = 1
FUSE_NAME_OFFSET_DIRENTPLUS = ENTRY_OUT.size + DIRENT.size
FUSE_INIT_IN_BYTES_BEFORE_7_36 = 16
FUSE_SETXATTR_IN_BYTES_SHORT = 8
FUSE_EXT_GROUPS = 32

FATTR_MODE = 1 << 0
FATTR_UID = 1 << 1
FATTR_GID = 1 << 2
FATTR_SIZE = 1 << 3
FATTR_ATIME = 1 << 4
FATTR_MTIME = 1 << 5
FATTR_FH = 1 << 6
FATTR_ATIME_NOW = 1 << 7
FATTR_MTIME_NOW = 1 << 8
FATTR_KILL_SUIDGID = 1 << 11

FOPEN_DIRECT_IO = 1 << 0
FOPEN_KEEP_CACHE = 1 << 1
FOPEN_CACHE_DIR = 1 << 3
FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6
FUSE_OPEN_KILL_SUIDGID = 1 << 0
FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0
FUSE_IOCTL_COMPAT = 1 << 0
FUSE_IOCTL_UNRESTRICTED = 1 << 1
FUSE_IOCTL_DIR = 1 << 4
