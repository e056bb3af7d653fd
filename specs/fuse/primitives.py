"""The vocabulary of plans: what each step of an operation reads and writes. `fuse/steps` gives them their meaning.

Registers: `args` (the decoded structure), `name`, `name2` (raw names), `node`, `dir`, `newdir`, `old` (descriptors of
inodes, pinned for the length of the request), `handle` (a descriptor of an fh), `found` (an inode just met: descriptor,
attributes, file handle), `file` (a descriptor just opened), `nodeid`, `fh`, `attr`, `names` (checked names), `caller`
(credentials taken on), `entries`, `reply`.
"""

from machine.rows import Primitive

_P = Primitive
_G = ("args", "name", "name2", "header")
"""Registers that stand when a plan begins."""

GIVEN = _G

PRIMITIVES = (
    _P("node", ("header",), ("node",), False, "descriptor of header.nodeid, or ENOENT/ESTALE"),
    _P("dir_node", ("header",), ("dir",), False, "the same, named as the directory that names are looked up in"),
    _P("new_dir_node", ("args",), ("newdir",), False, "descriptor of args.newdir"),
    _P("old_node", ("args",), ("old",), False, "descriptor of args.oldnodeid"),
    _P("handle_if_given", ("args",), ("handle",), False, "descriptor of args.fh where FATTR_FH is set, else none"),
    _P("directory_handle", ("args",), ("handle",), False, "descriptor of the open directory args.fh, or EBADF"),
    _P("check_name", ("name",), ("checked",), False, "one path component of at most NAME_MAX bytes, or EINVAL"),
    _P("check_new_name", ("name2",), ("checked2",), False, "the same for the second name"),
    _P("check_target", ("name2",), ("checked2",), False, "a symlink's target: 1 to PATH_MAX - 1 bytes, any content"),
    _P("check_xattr_name", ("name",), ("checked",), False, "1 to XATTR_NAME_MAX bytes, or ERANGE"),
    _P("xattr_wanted", (), (), False, "ENOSYS unless --xattr was given, so that the guest stops asking"),
    _P("handle_room", (), (), False, "ENFILE when the table of handles is full, before anything is changed"),
    _P("act_as_caller", ("header", "args"), ("caller",), False, "uid, gid, one supplementary group of the request"),
    _P("act_as_daemon", ("caller",), (), False, "back to the daemon's own"),
    _P("mkdirat", ("dir", "checked", "caller", "args"), ("made",), True, "mkdirat(2)"),
    _P("mknodat", ("dir", "checked", "caller", "args"), ("made",), True, "mknodat(2)"),
    _P("symlinkat", ("dir", "checked", "checked2", "caller"), ("made",), True, "symlinkat(2)"),
    _P("linkat", ("dir", "checked", "old"), ("made",), True, "linkat(2) of an inode"),
    _P("unlinkat", ("dir", "checked"), (), True, "unlinkat(2)"),
    _P("rmdirat", ("dir", "checked"), (), True, "unlinkat(2) with AT_REMOVEDIR"),
    _P("renameat2", ("dir", "newdir", "checked", "checked2", "args"), (), True, "renameat2(2), all flags"),
    _P("create_file", ("dir", "checked", "caller", "args"), ("made", "file"), True,
       "openat(2) O_CREAT|O_EXCL; an existing name is left to open_existing unless the guest said O_EXCL"),
    _P("open_existing", ("found", "file", "args"), ("file",), True, "opens what create_file found in its place"),
    _P("open_tmpfile", ("dir", "caller", "args"), ("made", "file"), True, "openat(2) O_TMPFILE"),
    _P("open_found", ("dir", "checked"), ("found",), False, "O_PATH descriptor, attributes, file handle of a name"),
    _P("found_of_file", ("file",), ("found",), False, "the same of an open file without a name"),
    _P("open_node", ("node", "args"), ("file",), True, "opens an inode with the guest's flags; may truncate"),
    _P("open_directory", ("node",), ("file",), False, "opens a directory for reading"),
    _P("intern", ("found",), ("nodeid",), False, "records one lookup count of the found inode, new or known"),
    _P("add_file", ("file", "header"), ("fh",), False, "records a handle of the open file"),
    _P("add_directory", ("file", "header"), ("fh",), False, "records a handle of the open directory"),
    _P("drop_file", ("args",), (), False, "records the end of a file's handle; its descriptor is closed afterwards"),
    _P("drop_directory", ("args",), (), False, "the same for a directory"),
    _P("forget_one", ("args", "header"), (), False, "records lookup counts given back"),
    _P("forget_many", ("args", "header"), (), False, "the same for a list"),
    _P("set_mode", ("node", "args"), (), True, "fchmodat(2)"),
    _P("set_owner", ("node", "args"), (), True, "fchownat(2)"),
    _P("set_size", ("node", "handle", "args"), (), True, "ftruncate(2), set-id bits cleared when asked"),
    _P("set_times", ("node", "handle", "args"), (), True, "utimensat(2)"),
    _P("stat_node", ("node",), ("attr",), False, "statx(2)"),
    _P("setxattr", ("node", "checked", "args"), (), True, "setxattr(2)"),
    _P("removexattr", ("node", "checked"), (), True, "removexattr(2)"),
    _P("check_ioctl", ("args",), ("checked",), False, "one of the four commands and its sizes, or ENOTTY"),
    _P("run_ioctl", ("node", "args", "checked"), ("attr",), True, "ioctl(2) on a fresh descriptor"),
    _P("read_found", ("handle", "args"), ("entries",), False, "names of a directory, each with what open_found tells"),
    _P("intern_all", ("entries",), ("nodeids",), False, "intern for each entry that fits the reply"),
    _P("negotiate", ("args",), ("offer",), False, "what both sides can do; EPROTO for a major version that isn't 7"),
    _P("begin_session", ("offer",), ("epoch",), False, "records the new session and its root, ends an old one"),
    _P("end_session", (), (), False, "records the end of the session: no inode, no handle"),
    _P("reply_empty", (), ("reply",), False, "success without a body"),
    _P("reply_entry", ("nodeid", "found"), ("reply",), False, "fuse_entry_out"),
    _P("reply_attr", ("attr",), ("reply",), False, "fuse_attr_out"),
    _P("reply_open", ("fh",), ("reply",), False, "fuse_open_out"),
    _P("reply_create", ("nodeid", "found", "fh"), ("reply",), False, "fuse_entry_out and fuse_open_out"),
    _P("reply_direntplus", ("entries", "nodeids"), ("reply",), False, "fuse_direntplus, 8-byte aligned"),
    _P("reply_ioctl", ("attr",), ("reply",), False, "fuse_ioctl_out and the value"),
    _P("reply_init", ("offer", "epoch"), ("reply",), False, "fuse_init_out as long as the guest's minor knows it"),
)
