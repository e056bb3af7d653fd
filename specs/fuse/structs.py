"""FUSE wire structures (include/uapi/linux/fuse.h, protocol 7.45); native endian, padding written out."""

from machine.rows import Struct

_H = "include/uapi/linux/fuse.h"

_ATTR = (
    ("ino", "Q"), ("size", "Q"), ("blocks", "Q"), ("atime", "Q"), ("mtime", "Q"), ("ctime", "Q"),
    ("atimensec", "I"), ("mtimensec", "I"), ("ctimensec", "I"), ("mode", "I"), ("nlink", "I"), ("uid", "I"),
    ("gid", "I"), ("rdev", "I"), ("blksize", "I"), ("flags", "I"),
)
_SX_TIME = (("tv_sec", "q"), ("tv_nsec", "I"), ("reserved", "i"))

FUSE_STRUCTS = (
    Struct("fuse_in_header", (
        ("len", "I"), ("opcode", "I"), ("unique", "Q"), ("nodeid", "Q"), ("uid", "I"), ("gid", "I"), ("pid", "I"),
        ("total_extlen", "H"), ("padding", "H"),
    ), _H),
    Struct("fuse_out_header", (("len", "I"), ("error", "i"), ("unique", "Q")), _H),
    Struct("fuse_attr", _ATTR, _H),
    Struct("fuse_entry_out", (
        ("nodeid", "Q"), ("generation", "Q"), ("entry_valid", "Q"), ("attr_valid", "Q"), ("entry_valid_nsec", "I"),
        ("attr_valid_nsec", "I"), ("attr", "88s"),
    ), _H),
    Struct("fuse_forget_in", (("nlookup", "Q"),), _H),
    Struct("fuse_forget_one", (("nodeid", "Q"), ("nlookup", "Q")), _H),
    Struct("fuse_batch_forget_in", (("count", "I"), ("dummy", "I")), _H),
    Struct("fuse_getattr_in", (("getattr_flags", "I"), ("dummy", "I"), ("fh", "Q")), _H),
    Struct("fuse_attr_out", (("attr_valid", "Q"), ("attr_valid_nsec", "I"), ("dummy", "I"), ("attr", "88s")), _H),
    Struct("fuse_statx_in", (
        ("getattr_flags", "I"), ("reserved", "I"), ("fh", "Q"), ("sx_flags", "I"), ("sx_mask", "I"),
    ), _H),
    Struct("fuse_sx_time", _SX_TIME, _H),
    Struct("fuse_statx", (
        ("mask", "I"), ("blksize", "I"), ("attributes", "Q"), ("nlink", "I"), ("uid", "I"), ("gid", "I"),
        ("mode", "H"), ("spare0", "H"), ("ino", "Q"), ("size", "Q"), ("blocks", "Q"), ("attributes_mask", "Q"),
        ("atime", "16s"), ("btime", "16s"), ("ctime", "16s"), ("mtime", "16s"), ("rdev_major", "I"),
        ("rdev_minor", "I"), ("dev_major", "I"), ("dev_minor", "I"), ("spare2", "112s"),
    ), _H),
    Struct("fuse_statx_out", (
        ("attr_valid", "Q"), ("attr_valid_nsec", "I"), ("flags", "I"), ("spare", "16s"), ("stat", "256s"),
    ), _H),
    Struct("fuse_mknod_in", (("mode", "I"), ("rdev", "I"), ("umask", "I"), ("padding", "I")), _H),
    Struct("fuse_mkdir_in", (("mode", "I"), ("umask", "I")), _H),
    Struct("fuse_rename_in", (("newdir", "Q"),), _H),
    Struct("fuse_rename2_in", (("newdir", "Q"), ("flags", "I"), ("padding", "I")), _H),
    Struct("fuse_link_in", (("oldnodeid", "Q"),), _H),
    Struct("fuse_setattr_in", (
        ("valid", "I"), ("padding", "I"), ("fh", "Q"), ("size", "Q"), ("lock_owner", "Q"), ("atime", "Q"),
        ("mtime", "Q"), ("ctime", "Q"), ("atimensec", "I"), ("mtimensec", "I"), ("ctimensec", "I"), ("mode", "I"),
        ("unused4", "I"), ("uid", "I"), ("gid", "I"), ("unused5", "I"),
    ), _H),
    Struct("fuse_open_in", (("flags", "I"), ("open_flags", "I")), _H),
    Struct("fuse_create_in", (("flags", "I"), ("mode", "I"), ("umask", "I"), ("open_flags", "I")), _H),
    Struct("fuse_open_out", (("fh", "Q"), ("open_flags", "I"), ("backing_id", "i")), _H),
    Struct("fuse_release_in", (("fh", "Q"), ("flags", "I"), ("release_flags", "I"), ("lock_owner", "Q")), _H),
    Struct("fuse_flush_in", (("fh", "Q"), ("unused", "I"), ("padding", "I"), ("lock_owner", "Q")), _H),
    Struct("fuse_read_in", (
        ("fh", "Q"), ("offset", "Q"), ("size", "I"), ("read_flags", "I"), ("lock_owner", "Q"), ("flags", "I"),
        ("padding", "I"),
    ), _H),
    Struct("fuse_write_in", (
        ("fh", "Q"), ("offset", "Q"), ("size", "I"), ("write_flags", "I"), ("lock_owner", "Q"), ("flags", "I"),
        ("padding", "I"),
    ), _H),
    Struct("fuse_write_out", (("size", "I"), ("padding", "I")), _H),
    Struct("fuse_kstatfs", (
        ("blocks", "Q"), ("bfree", "Q"), ("bavail", "Q"), ("files", "Q"), ("ffree", "Q"), ("bsize", "I"),
        ("namelen", "I"), ("frsize", "I"), ("padding", "I"), ("spare", "24s"),
    ), _H),
    Struct("fuse_statfs_out", (("st", "80s"),), _H),
    Struct("fuse_fsync_in", (("fh", "Q"), ("fsync_flags", "I"), ("padding", "I")), _H),
    Struct("fuse_setxattr_in", (
        ("size", "I"), ("flags", "I"), ("setxattr_flags", "I"), ("padding", "I"),
    ), _H + "; the last two fields only with SETXATTR_EXT"),
    Struct("fuse_getxattr_in", (("size", "I"), ("padding", "I")), _H),
    Struct("fuse_getxattr_out", (("size", "I"), ("padding", "I")), _H),
    Struct("fuse_file_lock", (("start", "Q"), ("end", "Q"), ("type", "I"), ("pid", "I")), _H),
    Struct("fuse_lk_in", (("fh", "Q"), ("owner", "Q"), ("lk", "24s"), ("lk_flags", "I"), ("padding", "I")), _H),
    Struct("fuse_access_in", (("mask", "I"), ("padding", "I")), _H),
    Struct("fuse_init_in", (
        ("major", "I"), ("minor", "I"), ("max_readahead", "I"), ("flags", "I"), ("flags2", "I"), ("unused", "44s"),
    ), _H + "; 16 bytes before 7.36"),
    Struct("fuse_init_out", (
        ("major", "I"), ("minor", "I"), ("max_readahead", "I"), ("flags", "I"), ("max_background", "H"),
        ("congestion_threshold", "H"), ("max_write", "I"), ("time_gran", "I"), ("max_pages", "H"),
        ("map_alignment", "H"), ("flags2", "I"), ("max_stack_depth", "I"), ("request_timeout", "H"),
        ("unused", "22s"),
    ), _H),
    Struct("fuse_interrupt_in", (("unique", "Q"),), _H),
    Struct("fuse_bmap_in", (("block", "Q"), ("blocksize", "I"), ("padding", "I")), _H),
    Struct("fuse_ioctl_in", (
        ("fh", "Q"), ("flags", "I"), ("cmd", "I"), ("arg", "Q"), ("in_size", "I"), ("out_size", "I"),
    ), _H),
    Struct("fuse_ioctl_out", (("result", "i"), ("flags", "I"), ("in_iovs", "I"), ("out_iovs", "I")), _H),
    Struct("fuse_poll_in", (("fh", "Q"), ("kh", "Q"), ("flags", "I"), ("events", "I")), _H),
    Struct("fuse_fallocate_in", (
        ("fh", "Q"), ("offset", "Q"), ("length", "Q"), ("mode", "I"), ("padding", "I"),
    ), _H),
    Struct("fuse_dirent", (("ino", "Q"), ("off", "Q"), ("namelen", "I"), ("type", "I")), _H + "; the name follows"),
    Struct("fuse_lseek_in", (("fh", "Q"), ("offset", "Q"), ("whence", "I"), ("padding", "I")), _H),
    Struct("fuse_lseek_out", (("offset", "Q"),), _H),
    Struct("fuse_copy_file_range_in", (
        ("fh_in", "Q"), ("off_in", "Q"), ("nodeid_out", "Q"), ("fh_out", "Q"), ("off_out", "Q"), ("len", "Q"),
        ("flags", "Q"),
    ), _H),
    Struct("fuse_copy_file_range_out", (("bytes_copied", "Q"),), _H),
    Struct("fuse_syncfs_in", (("padding", "Q"),), _H),
    Struct("fuse_ext_header", (("size", "I"), ("type", "I")), _H),
    Struct("fuse_supp_groups", (("nr_groups", "I"),), _H + "; group ids follow"),
)
