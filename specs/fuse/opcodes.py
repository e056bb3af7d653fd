"""One row per FUSE opcode (include/uapi/linux/fuse.h, protocol 7.45): structures, lane, plan, effects, repetition.

Lanes: rows of the data lane leave device state as it is and name their native executor; rows of the state lane name
their plan. `moves` lists the machine events which a success records; a success that records no entry is an event of
the session if it `changes_host`. `keeps_reply` rows store their reply with the transition, since it can't be made again.
"""

from machine.rows import Opcode

# A row is all that the device knows of an operation: how its request is decoded, what runs, what it may record, how it is
# answered, and what becomes of it when its worker dies in it. No code asks for an operation by its name (a layout test keeps
# this); what two operations have in common is a column, and what only one has is a column too.
#
# What decides after a crash, from the safest to the most delicate:
# - `repeat="yes"`: it is run again (READ, GETATTR, chmod). Nobody can tell that it was run twice.
# - `repeat="done"`: its transitions are all that it does (FORGET, RELEASE). Once they are committed only the reply is missing,
#   and that is empty.
# - `repeat="no"` without `changes_host`: it gave the guest something (LOOKUP, OPEN). What the lost reply told of is given back
#   by the `back` events of its primitives, and it is run again.
# - `repeat="no"` with `changes_host`: a second time would be wrong (the second MKDIR fails, the second RENAME moves another
#   file). The `witness` says whether it took effect; if so, it is run without the steps that change the host.
#   `keeps_reply` is for the time after the commit: the reply stands in the journal, because the state it tells of may be gone.
#
# `machine.plans` refuses a row that doesn't add up: a step that may not be done twice and no witness, a reply from a silent
# operation, a name that nobody can interpret.
_ENTRY = (("inode", "entry"), ("mount", "meet"))
_FORGOTTEN = (("inode", "forget"), ("inode", "forget_last"), ("mount", "leave"), ("inode", "forget_root"))
_UNNAMED = (("inode", "unnamed"),)
_NO_DAX = "DAX needs a shared memory region, which comes later"
_NO_LOCKS = "remote locks come later; without them the guest keeps locks to itself"

OPCODES = (
    Opcode(
        1, "LOOKUP", "state", names=1, about="entry", out=("fuse_entry_out",), moves=_ENTRY, repeat="no",
        plan=("dir_node", "check_name", "open_found", "intern", "reply_entry"),
        doc="A second run would count twice; a committed and undelivered one is compensated.",
    ),
    Opcode(
        2, "FORGET", "state", "fuse_forget_in", plan=("forget_one",), repeat="done",
        moves=_FORGOTTEN, silent=True,
        doc="No reply. The count drops in the commit that precedes the used element.",
    ),
    Opcode(3, "GETATTR", "data", "fuse_getattr_in", out=("fuse_attr_out",), native="getattr"),
    Opcode(
        4, "SETATTR", "state", "fuse_setattr_in", out=("fuse_attr_out",), changes_host=True, keeps_reply=True,
        plan=(
            "node", "handle_if_given", "set_mode", "set_owner", "set_size", "set_times", "stat_node", "reply_attr",
        ),
        witness="size_and_now", repeat="no",
        doc="Mode, owner and explicit times may be repeated; 'now' is frozen in the witness, a truncation decided by it.",
    ),
    Opcode(5, "READLINK", "data", native="readlink"),
    Opcode(
        6, "SYMLINK", "state", names=2, about="symlink", out=("fuse_entry_out",), moves=_ENTRY, changes_host=True,
        keeps_reply=True,
        plan=(
            "dir_node", "entry_room", "check_name", "check_target", "act_as_caller", "symlinkat", "act_as_daemon", "open_found",
            "intern", "reply_entry",
        ),
        witness="name_absent", repeat="no",
    ),
    Opcode(
        8, "MKNOD", "state", "fuse_mknod_in", 1, ("fuse_entry_out",), moves=_ENTRY, changes_host=True, keeps_reply=True,
        plan=(
            "dir_node", "entry_room", "check_name", "act_as_caller", "mknodat", "act_as_daemon", "open_found", "intern",
            "reply_entry",
        ),
        witness="name_absent", repeat="no", about="entry",
    ),
    Opcode(
        9, "MKDIR", "state", "fuse_mkdir_in", 1, ("fuse_entry_out",), moves=_ENTRY, changes_host=True, keeps_reply=True,
        plan=(
            "dir_node", "entry_room", "check_name", "act_as_caller", "mkdirat", "act_as_daemon", "open_found", "intern",
            "reply_entry",
        ),
        witness="name_absent", repeat="no", about="entry",
    ),
    Opcode(
        10, "UNLINK", "state", names=1, changes_host=True, keeps_reply=True, witness="victim", repeat="no",
        about="removal", moves=_UNNAMED,
        plan=("dir_node", "check_name", "watch_name", "unlinkat", "keep_unnamed", "reply_empty"),
    ),
    Opcode(
        11, "RMDIR", "state", names=1, changes_host=True, keeps_reply=True, witness="victim", repeat="no",
        about="removal", moves=_UNNAMED,
        plan=("dir_node", "check_name", "watch_name", "rmdirat", "keep_unnamed", "reply_empty"),
    ),
    Opcode(
        12, "RENAME", "state", "fuse_rename_in", 2, changes_host=True, keeps_reply=True, witness="both_names",
        repeat="no", about="rename", moves=_UNNAMED,
        plan=(
            "dir_node", "new_dir_node", "check_name", "check_new_name", "watch_new_name", "renameat2", "keep_unnamed",
            "reply_empty",
        ),
    ),
    Opcode(
        13, "LINK", "state", "fuse_link_in", 1, ("fuse_entry_out",), moves=_ENTRY, changes_host=True, keeps_reply=True,
        plan=("dir_node", "old_node", "entry_room", "check_name", "linkat", "open_found", "intern", "reply_entry"),
        witness="name_absent", repeat="no", about="link",
    ),
    Opcode(
        14, "OPEN", "state", "fuse_open_in", out=("fuse_open_out",), moves=(("handle", "open"),), repeat="no",
        plan=("handle_room", "node", "open_node", "add_file", "reply_open"), witness="truncation",
        opens="file",
        doc="Only a truncation has a witness; the descriptor outlives the worker.",
    ),
    Opcode(15, "READ", "data", "fuse_read_in", native="read"),
    Opcode(
        16, "WRITE", "data", "fuse_write_in", out=("fuse_write_out",), native="write", witness="append_end",
        changes_host=True, repeat="no", doc="At an offset it may be repeated; an append may not.",
    ),
    Opcode(17, "STATFS", "data", out=("fuse_statfs_out",), native="statfs"),
    Opcode(
        18, "RELEASE", "state", "fuse_release_in", plan=("drop_file", "reply_empty"), moves=(("handle", "release"),),
        repeat="done",
    ),
    Opcode(20, "FSYNC", "data", "fuse_fsync_in", native="fsync"),
    Opcode(
        21, "SETXATTR", "state", "fuse_setxattr_in", 1, changes_host=True, keeps_reply=True, witness="xattr_set",
        repeat="no", about="attribute", short=("SETXATTR_EXT", 2),
        plan=("xattr_wanted", "node", "check_xattr_name", "setxattr", "drop_sgid", "reply_empty"),
    ),
    Opcode(22, "GETXATTR", "data", "fuse_getxattr_in", 1, native="getxattr", about="attribute", option="xattr"),
    Opcode(23, "LISTXATTR", "data", "fuse_getxattr_in", native="listxattr", option="xattr"),
    Opcode(
        24, "REMOVEXATTR", "state", names=1, changes_host=True, keeps_reply=True, witness="xattr_gone", repeat="no",
        about="attribute",
        plan=("xattr_wanted", "node", "check_xattr_name", "removexattr", "reply_empty"),
    ),
    Opcode(25, "FLUSH", "data", "fuse_flush_in", native="flush"),
    Opcode(
        26, "INIT", "state", "fuse_init_in", out=("fuse_init_out",), repeat="no", keeps_reply=True,
        plan=("negotiate", "begin_session", "reply_init"), moves=(("session", "INIT"),),
        args_in_plan=True,
        doc="Ends an earlier session of the same device; the reply is kept and given again.",
    ),
    Opcode(
        27, "OPENDIR", "state", "fuse_open_in", out=("fuse_open_out",), moves=(("handle", "opendir"),), repeat="no",
        opens="directory", plan=("handle_room", "node", "open_directory", "add_directory", "reply_open"),
    ),
    Opcode(28, "READDIR", "data", "fuse_read_in", native="readdir", doc="The cookie is the host's d_off."),
    Opcode(
        29, "RELEASEDIR", "state", "fuse_release_in", plan=("drop_directory", "reply_empty"), repeat="done",
        moves=(("handle", "releasedir"),),
    ),
    Opcode(30, "FSYNCDIR", "data", "fuse_fsync_in", native="fsyncdir"),
    Opcode(31, "GETLK", "refuse", "fuse_lk_in", errno="ENOSYS", doc=_NO_LOCKS),
    Opcode(32, "SETLK", "refuse", "fuse_lk_in", errno="ENOSYS", doc=_NO_LOCKS),
    Opcode(33, "SETLKW", "refuse", "fuse_lk_in", errno="ENOSYS", doc=_NO_LOCKS),
    Opcode(34, "ACCESS", "data", "fuse_access_in", native="access"),
    Opcode(
        35, "CREATE", "state", "fuse_create_in", 1, ("fuse_entry_out", "fuse_open_out"), changes_host=True,
        about="entry", opens="file",
        moves=(*_ENTRY, ("handle", "open")), keeps_reply=True, witness="name_absent", repeat="no",
        plan=(
            "handle_room", "dir_node", "check_name", "act_as_caller", "create_file", "act_as_daemon", "open_created",
            "open_existing", "intern", "add_file", "reply_create",
        ),
    ),
    Opcode(36, "INTERRUPT", "silent", "fuse_interrupt_in", silent=True, doc="Nothing we do waits for anyone; no reply."),
    Opcode(37, "BMAP", "refuse", "fuse_bmap_in", errno="ENOSYS", doc="block devices only"),
    Opcode(
        38, "DESTROY", "state", plan=("end_session", "reply_empty"), moves=(("session", "DESTROY"),), repeat="done",
    ),
    Opcode(
        39, "IOCTL", "state", "fuse_ioctl_in", out=("fuse_ioctl_out",), changes_host=True,
        plan=("node", "check_ioctl", "run_ioctl", "reply_ioctl"),
        doc="FS_IOC_GETFLAGS, SETFLAGS, FSGETXATTR, FSSETXATTR; any other is ENOTTY. All may be repeated. EPERM for what only "
        "privileged processes of the host may change, unless --allow-inode-flags.",
    ),
    Opcode(40, "POLL", "refuse", "fuse_poll_in", errno="ENOSYS", doc="the guest then treats files as always ready"),
    Opcode(41, "NOTIFY_REPLY", "refuse", errno="ENOSYS", doc="there is no notification queue"),
    Opcode(
        42, "BATCH_FORGET", "state", "fuse_batch_forget_in", plan=("forget_many",), repeat="done",
        moves=_FORGOTTEN, silent=True,
        doc="No reply; the whole batch is one commit.",
    ),
    Opcode(43, "FALLOCATE", "data", "fuse_fallocate_in", native="fallocate", changes_host=True),
    Opcode(
        44, "READDIRPLUS", "state", "fuse_read_in", moves=_ENTRY, repeat="no", about="entries",
        plan=("directory_handle", "read_found", "intern_all", "reply_direntplus"),
        doc="One lookup count per entry but '.' and '..'.",
    ),
    Opcode(
        45, "RENAME2", "state", "fuse_rename2_in", 2, changes_host=True, keeps_reply=True, witness="both_names",
        repeat="no", about="rename", moves=_UNNAMED,
        plan=(
            "dir_node", "new_dir_node", "check_name", "check_new_name", "watch_new_name", "renameat2", "keep_unnamed",
            "reply_empty",
        ),
    ),
    Opcode(46, "LSEEK", "data", "fuse_lseek_in", out=("fuse_lseek_out",), native="lseek"),
    Opcode(
        47, "COPY_FILE_RANGE", "data", "fuse_copy_file_range_in", out=("fuse_write_out",), native="copy_file_range",
        changes_host=True,
    ),
    Opcode(48, "SETUPMAPPING", "refuse", errno="ENOSYS", doc=_NO_DAX),
    Opcode(49, "REMOVEMAPPING", "refuse", errno="ENOSYS", doc=_NO_DAX),
    Opcode(50, "SYNCFS", "data", "fuse_syncfs_in", native="syncfs"),
    Opcode(
        51, "TMPFILE", "state", "fuse_create_in", 1, ("fuse_entry_out", "fuse_open_out"), changes_host=True,
        about="unused", opens="file",
        moves=(*_ENTRY, ("handle", "open")), keeps_reply=True, witness="uncommitted_fd", repeat="no",
        plan=(
            "handle_room", "dir_node", "act_as_caller", "open_tmpfile", "act_as_daemon", "found_of_file", "intern",
            "add_file", "reply_create",
        ),
        doc="The unnamed file lives as long as its descriptor: one never committed is closed by the sweep, and so gone.",
    ),
    Opcode(52, "STATX", "data", "fuse_statx_in", out=("fuse_statx_out",), native="statx"),
    Opcode(
        53, "COPY_FILE_RANGE_64", "data", "fuse_copy_file_range_in", out=("fuse_copy_file_range_out",),
        native="copy_file_range_64", changes_host=True,
    ),
    Opcode(4096, "CUSE_INIT", "refuse", errno="ENOSYS", doc="character devices in user space, not a file system"),
)
