"""The vocabulary of plans: registers, and what each step of an operation reads, writes and changes. `fuse/steps` gives the
steps their meaning.
"""

from machine.rows import Change, Primitive, Register

# Registers are how primitives speak to each other. `machine.plans` walks each plan and refuses one in which a step reads what
# nothing before it wrote; a layout test reads each step's code and refuses one that touches what its row doesn't name. So
# plans can be made of steps without reading their code. Those that say "fact" hold nothing: they stand for something that must
# be true by then (a name was checked), so that no plan can leave the check out.
_V = Register
REGISTERS = (
    _V("header", "always", False, "who asks (uid, gid, pid), under which number, about which nodeid"),
    _V("args", "struct", False, "the numbers of the decoded structure"),
    _V("name", "name", False, "the first name, raw"),
    _V("name2", "name2", False, "the second name, raw"),
    _V("data", "always", False, "what stands behind structure and names"),
    _V("witness", "always", False, "what was stored before the request; empty: nothing"),
    _V("tail", "always", False, "the request's extensions"),
    _V("reply_max", "always", False, "bytes of room for the reply"),
    _V("checked", "", False, "fact: `name` (or a command) is sound"),
    _V("checked2", "", False, "fact: `name2` is sound"),
    _V("node", "", True, "descriptor of the inode that the request is about"),
    _V("dir", "", True, "the same, where names are looked up in it"),
    _V("newdir", "", True, "descriptor of the directory of the second name"),
    _V("old", "", True, "descriptor of the inode that gets a further name"),
    _V("handle", "", True, "descriptor of an fh, or none"),
    _V("caller", "", False, "fact: this thread has the caller's credentials; no descriptor may be found meanwhile"),
    _V("made", "", False, "fact: the new name is made"),
    _V("found", "", True, "an inode just met: descriptor, attributes, file handle"),
    _V("file", "", True, "a descriptor just opened; the request's own until a table takes it"),
    _V("nodeid", "", False, "of the inode that the reply tells"),
    _V("fh", "", False, "of the handle that the reply tells"),
    _V("attr", "", False, "attributes, or an ioctl's value"),
    _V("only_looked", "", False, "a step that may change the host has changed nothing: there is nothing to record"),
    _V("watched", "", True, "inodes that the guest knows and that may lose their last name"),
    _V("entries", "", True, "entries of a directory, each with what was found"),
    _V("listing", "", False, "the same as the reply has them"),
    _V("offer", "", False, "what INIT has negotiated"),
    _V("epoch", "", False, "fact: the session has begun, or the guest is to ask again"),
    _V("reply", "", False, "the message to the guest"),
)

# What is known of a request that a dead worker was executing is its slot. If the host was changed and the journal doesn't tell
# so, the operation must not be done a second time, but its reply must be made all the same. So each step that changes the
# host says here what becomes of it then. Most of them are left out, and the steps around them find the new state of the host:
# a MKDIR that took effect looks up the directory that it has made. The witness, stored before the step, tells whether it did.
#
# A step may be done again when the second time can't be told from the first: chmod, chown, and times, whose "now" was frozen.
# So may the opening of an unnamed file, since the first one went away with its descriptor. Opening with O_TRUNC may not: what
# was truncated may have been written to since by another handle. It has a primitive of its own that opens and doesn't truncate.
#
# A read-only share refuses every change. What may or may not change something, by its flags or its command, looks itself.
_AGAIN = Change("none", "again", "refused")
_GONE = Change("victim", "left_out", "refused")

# What may be recorded. A lookup count or a handle exists for the guest's sake only: when the guest won't learn of it, because a
# later step failed or its reply was lost with the worker, it ends again by these events, and a mount with its last inode.
_ENTRY = (("inode", "entry"), ("mount", "meet"))
_FORGET = (("inode", "forget"), ("inode", "forget_last"), ("mount", "leave"))
_FORGOTTEN = (*_FORGET, ("inode", "forget_root"))

_P = Primitive
PRIMITIVES = (
    _P("node", ("header",), ("node",), None, "descriptor of header.nodeid, or ENOENT/ESTALE"),
    _P("dir_node", ("header",), ("dir",), None, "the same, named as the directory that names are looked up in"),
    _P("new_dir_node", ("args",), ("newdir",), None, "descriptor of args.newdir"),
    _P("old_node", ("args",), ("old",), None, "descriptor of args.oldnodeid"),
    _P("handle_if_given", ("header", "args"), ("handle",), None, "descriptor of args.fh where FATTR_FH is set, else none"),
    _P("directory_handle", ("header", "args"), ("handle",), None, "descriptor of the open directory args.fh, or EBADF"),
    _P("check_name", ("name",), ("checked",), None, "one path component of at most NAME_MAX bytes, or EINVAL"),
    _P("check_new_name", ("name2",), ("checked2",), None, "the same for the second name"),
    _P("check_target", ("name2",), ("checked2",), None, "a symlink's target: 1 to PATH_MAX - 1 bytes, any content"),
    _P("check_xattr_name", ("name",), ("checked",), None, "1 to XATTR_NAME_MAX bytes, or ERANGE"),
    _P("xattr_wanted", (), (), None, "ENOSYS unless --xattr was given, so that the guest stops asking"),
    _P("handle_room", (), (), None, "ENFILE when there is no room for a descriptor or a handle more; nothing is changed yet"),
    _P("entry_room", ("dir",), (), None, "the same for a new inode that no file handle will hold"),
    _P("act_as_caller", ("header", "tail"), ("caller",), None, "uid, gid, one supplementary group of the request"),
    _P("act_as_daemon", ("caller",), (), None, "back to the daemon's own", ends=("caller",)),
    _P("mkdirat", ("dir", "checked", "caller", "args"), ("made",),
       Change("name_absent", "left_out", "refused", "directory"), "mkdirat(2)"),
    _P("mknodat", ("dir", "checked", "caller", "args"), ("made",),
       Change("name_absent", "left_out", "refused", "node"), "mknodat(2)"),
    _P("symlinkat", ("dir", "checked", "checked2", "caller"), ("made",),
       Change("name_absent", "left_out", "refused", "symlink"), "symlinkat(2)"),
    _P("linkat", ("dir", "checked", "old"), ("made",),
       Change("name_absent", "left_out", "refused", "link"), "linkat(2) of an inode"),
    _P("unlinkat", ("dir", "checked"), (), _GONE, "unlinkat(2)"),
    _P("rmdirat", ("dir", "checked"), (), _GONE, "unlinkat(2) with AT_REMOVEDIR"),
    _P("renameat2", ("dir", "newdir", "checked", "checked2", "args"), (),
       Change("both_names", "left_out", "refused"), "renameat2(2), all flags"),
    _P("watch_name", ("dir", "checked", "name", "witness"), ("watched",), None,
       "descriptors of the inode that has the name, if the guest knows it; ENFILE when it could not be held"),
    _P("watch_new_name", ("newdir", "checked2", "name2", "witness"), ("watched",), None, "the same for the second name"),
    _P("keep_unnamed", ("watched",), (), None, "records that a watched inode has no name any more",
       moves=(("inode", "unnamed"),)),
    _P("create_file", ("dir", "checked", "caller", "args"), ("made", "file"),
       Change("name_absent", "left_out", "refused", "file"),
       "openat(2) O_CREAT|O_EXCL; an existing name is left to open_existing unless the guest said O_EXCL"),
    _P("open_existing", ("found", "file", "args"), ("file", "found"),
       Change("name_absent", "open_existing_truncated", "itself"), "opens what create_file found in its place"),
    _P("open_existing_truncated", ("found", "file", "args"), ("file",), None,
       "the same of a file that the request has made or truncated already; stands in no plan, only for open_existing"),
    _P("open_tmpfile", ("dir", "caller", "args"), ("made", "file"),
       Change("uncommitted_fd", "again", "refused"), "openat(2) O_TMPFILE"),
    _P("open_found", ("dir", "checked"), ("found",), None, "O_PATH descriptor, attributes, file handle of a name"),
    _P("open_created", ("dir", "checked", "file"), ("found",), None,
       "found_of_file of what create_file has made, open_found of a name that existed"),
    _P("found_of_file", ("file",), ("found",), None, "the same of an open file without a name"),
    _P("open_node", ("node", "args"), ("file",), Change("truncation", "open_node_truncated", "itself"),
       "opens an inode with the guest's flags; may truncate"),
    _P("open_node_truncated", ("node", "args"), ("file",), None,
       "the same of a file that the request has truncated already; stands in no plan, only for open_node"),
    _P("open_directory", ("node",), ("file",), None, "opens a directory for reading"),
    _P("intern", ("found",), ("nodeid",), None, "records one lookup count of the found inode, new or known",
       moves=_ENTRY, back=_FORGET),
    _P("add_file", ("file", "header", "args"), ("fh",), None, "records a handle of the open file",
       ends=("file",), moves=(("handle", "open"),), back=(("handle", "release"),)),
    _P("add_directory", ("file", "header", "args"), ("fh",), None, "records a handle of the open directory",
       ends=("file",), moves=(("handle", "opendir"),), back=(("handle", "releasedir"),)),
    _P("drop_file", ("args",), (), None, "records the end of a file's handle; its descriptor is closed afterwards",
       moves=(("handle", "release"),)),
    _P("drop_directory", ("args",), (), None, "the same for a directory", moves=(("handle", "releasedir"),)),
    _P("forget_one", ("args", "header"), (), None, "records lookup counts given back", moves=_FORGOTTEN),
    _P("forget_many", ("args", "data"), (), None, "the same for a list", moves=_FORGOTTEN),
    _P("set_mode", ("node", "args"), (), _AGAIN, "fchmodat(2)"),
    _P("set_owner", ("node", "args"), (), _AGAIN, "fchownat(2); also where nothing is set, for the set-id bits that it clears"),
    _P("set_size", ("node", "handle", "args"), (), Change("size_and_now", "left_out", "refused"),
       "ftruncate(2), set-id bits cleared when asked"),
    _P("set_times", ("node", "args"), (), _AGAIN, "utimensat(2)"),
    _P("stat_node", ("node",), ("attr",), None, "statx(2)"),
    _P("setxattr", ("node", "checked", "args", "data"), (), Change("xattr_set", "left_out", "refused"), "setxattr(2)"),
    _P("drop_sgid", ("node", "checked", "args"), (), _AGAIN, "fchmodat(2) behind a POSIX ACL, where the guest asks for it"),
    _P("removexattr", ("node", "checked"), (), Change("xattr_gone", "left_out", "refused"), "removexattr(2)"),
    _P("check_ioctl", ("args", "data"), ("checked",), None, "one of the four commands and its sizes, or ENOTTY"),
    _P("run_ioctl", ("node", "args", "data", "checked"), ("attr", "only_looked"), Change("none", "again", "itself"),
       "ioctl(2) on a fresh descriptor"),
    _P("read_found", ("handle", "args", "reply_max"), ("entries",), None,
       "names of a directory, each with what open_found tells"),
    _P("intern_all", ("entries",), ("listing",), None, "intern for each entry that fits the reply",
       moves=_ENTRY, back=_FORGET),
    _P("negotiate", ("data",), ("offer",), None, "what both sides can do; EPROTO for a major version that isn't 7"),
    _P("begin_session", ("offer", "header"), ("epoch",), None, "records the new session and its root, ends an old one",
       moves=(("session", "INIT"),)),
    _P("end_session", (), (), None, "records the end of the session: no inode, no handle", moves=(("session", "DESTROY"),)),
    _P("reply_empty", ("header",), ("reply",), None, "success without a body"),
    _P("reply_entry", ("header", "nodeid", "found"), ("reply",), None, "fuse_entry_out"),
    _P("reply_attr", ("header", "attr"), ("reply",), None, "fuse_attr_out"),
    _P("reply_open", ("header", "fh"), ("reply",), None, "fuse_open_out"),
    _P("reply_create", ("header", "nodeid", "found", "fh"), ("reply",), None, "fuse_entry_out and fuse_open_out"),
    _P("reply_direntplus", ("header", "listing"), ("reply",), None, "fuse_direntplus, 8-byte aligned"),
    _P("reply_ioctl", ("header", "attr"), ("reply",), None, "fuse_ioctl_out and the value"),
    _P("reply_init", ("header", "offer", "epoch"), ("reply",), None, "fuse_init_out as long as the guest's minor knows it"),
)  # fmt: skip
