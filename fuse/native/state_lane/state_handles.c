/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of plans, natively: making and opening files and directories, and READDIRPLUS.
 */
#include "fuse/native/host/creds.h"
#include "fuse/native/state_lane/state_op.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* What a guest's open flags may carry on to the host, beside O_DIRECT where it is allowed. Names are resolved already
 * (no O_CREAT, O_EXCL, O_NOFOLLOW); appends carry O_APPEND with each write. */
#define PASSED_ON ((uint32_t)(O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_NONBLOCK))

/* A guest with a write-back cache reads pages that it writes in part: it needs to read every file that it may write. */
static int host_flags(const struct state_lane *s, uint32_t flags)
{
    uint32_t kept = flags & (PASSED_ON | (s->config.allow_direct_io ? (uint32_t)O_DIRECT : 0));
    if (s->config.writeback && (flags & O_ACCMODE) == O_WRONLY)
        kept = (kept & ~(uint32_t)O_ACCMODE) | O_RDWR;
    return (int)kept;
}

/* `kill`: set-id bits go, as for a caller without CAP_FSETID. */
static int open_file(struct state_lane *s, int path_fd, int flags, bool kill)
{
    if (!kill)
        return host_open_file(s->host, path_fd, flags);
    int fd = killpriv_begin(path_fd);
    if (fd < 0)
        return fd;
    fd = host_open_file(s->host, path_fd, flags);
    killpriv_end();
    return fd;
}

int step_directory_handle(struct state_lane *s, struct state_op *op)
{
    uint64_t fh;
    memcpy(&fh, op->args, sizeof fh);
    op->handle = host_pin_handle(s->host, fh, op->nodeid, HANDLE_DIR);
    return positive(op->handle);
}

int step_handle_room(struct state_lane *s, struct state_op *op)
{
    /* A handle, and an inode that only a descriptor holds. */
    return table_handles(s->host) < s->config.handles_max ? positive(host_room(s->host, 2)) : ENFILE;
}

int step_entry_room(struct state_lane *s, struct state_op *op)
{
    return positive(host_entry_room(s->host, op->dir));
}

int step_open_node(struct state_lane *s, struct state_op *op)
{
    struct wire_open_in arg = STATE_ARG(op, wire_open_in);
    if (s->config.readonly && ((arg.flags & O_ACCMODE) != O_RDONLY || arg.flags & O_TRUNC))
        return EROFS;
    bool kill = arg.open_flags & WIRE_OPEN_KILL_SUIDGID && arg.flags & O_TRUNC;
    op->file = open_file(s, op->node, host_flags(s, arg.flags), kill);
    return positive(op->file);
}

/* CREATE met an existing name: opens that, as OPEN would; a truncation changes the attributes that were found. */
int step_open_existing(struct state_lane *s, struct state_op *op)
{
    struct wire_create_in arg = STATE_ARG(op, wire_create_in);
    if (op->file >= 0)
        return 0;
    bool kill = arg.open_flags & WIRE_OPEN_KILL_SUIDGID && arg.flags & O_TRUNC;
    op->file = open_file(s, op->found.fd, host_flags(s, arg.flags), kill);
    if (op->file < 0)
        return -op->file;
    struct found again;
    if ((arg.flags & O_TRUNC) == 0)
        return 0;
    int rc = host_stat(s->host, op->file, &again);
    if (rc == 0)
        op->found.attr = again.attr;
    return positive(rc);
}

int step_create_file(struct state_lane *s, struct state_op *op)
{
    struct wire_create_in arg = STATE_ARG(op, wire_create_in);
    int fd = host_create(s->host, op->dir, op->name, host_flags(s, arg.flags), arg.mode);
    if (fd == -EEXIST && (arg.flags & O_EXCL) == 0)
        return 0;
    if (fd >= 0)
        op->file = fd;
    return positive(fd);
}

int step_open_tmpfile(struct state_lane *s, struct state_op *op)
{
    struct wire_create_in arg = STATE_ARG(op, wire_create_in);
    op->file = host_tmpfile(s->host, op->dir, host_flags(s, arg.flags), arg.mode);
    return positive(op->file);
}

int step_open_directory(struct state_lane *s, struct state_op *op)
{
    op->file = host_open_dir(s->host, op->node);
    return positive(op->file);
}

/* The table owns the descriptor from here on. */
static int add(struct state_lane *s, struct state_op *op, int kind)
{
    uint32_t flags;
    memcpy(&flags, op->args, sizeof flags);
    uint64_t fh = ++s->batch.last_fh;
    struct handle_info info = {
        .fh = fh, .nodeid = op->nodeid, .fd = op->file, .open_flags = flags, .kind = (uint32_t)kind};
    int rc = table_handle_add(s->host, &info);
    if (rc < 0)
        return -rc;
    record_handle_put(op, fh, kind, op->nodeid, flags, op->file);
    op->fh = fh;
    op->file = -1;
    return 0;
}

int step_add_file(struct state_lane *s, struct state_op *op)
{
    return add(s, op, HANDLE_FILE);
}

int step_add_directory(struct state_lane *s, struct state_op *op)
{
    return add(s, op, HANDLE_DIR);
}

int state_drop(struct state_lane *s, struct state_op *op, uint64_t fh, int kind)
{
    struct handle_info last;
    if (table_handle_delete(s->host, fh, kind, &last) < 0)
        return EBADF;
    record_handle_delete(op, fh, &last);
    return 0;
}

static int drop_given(struct state_lane *s, struct state_op *op, int kind)
{
    uint64_t fh;
    memcpy(&fh, op->args, sizeof fh);
    return state_drop(s, op, fh, kind);
}

int step_drop_file(struct state_lane *s, struct state_op *op)
{
    return drop_given(s, op, HANDLE_FILE);
}

int step_drop_directory(struct state_lane *s, struct state_op *op)
{
    return drop_given(s, op, HANDLE_DIR);
}

/* --- READDIRPLUS */

int step_read_found(struct state_lane *s, struct state_op *op)
{
    struct wire_read_in arg = STATE_ARG(op, wire_read_in);
    uint64_t room = lane_room(op->r);
    uint64_t size = arg.size < room ? arg.size : room;
    if (size > STATE_REPLY_BYTES_MAX - OUT_HEAD)
        size = STATE_REPLY_BYTES_MAX - OUT_HEAD;
    if (size == 0)
        return EINVAL;
    if (s->scan == NULL)
        s->scan = state_grown(NULL, STATE_SCAN_ENTRIES_MAX * sizeof *s->scan);
    /* Descriptors of handle inodes are kept too: the cache of the table may have room for them. */
    int n = host_scan(s->host, arg.fh, arg.offset, (uint32_t)size, 1, s->scan, STATE_SCAN_ENTRIES_MAX);
    op->entries = n < 0 ? 0 : (uint32_t)n;
    return positive(n);
}

/* An entry that vanished or can't be opened is given as a plain name: no lookup count, nodeid 0. */
int step_intern_all(struct state_lane *s, struct state_op *op)
{
    uint32_t at = OUT_HEAD;
    op->listed = true;
    for (uint32_t i = 0; i < op->entries; i++) {
        struct scan_entry *entry = &s->scan[i];
        uint64_t nodeid;
        op->name = entry->name;
        op->name_bytes = entry->namelen;
        if (entry->found.error == 0 && state_intern(s, op, &entry->found, &nodeid) == 0)
            at += state_entry_out(s, s->reply + at, nodeid, &entry->found.attr);
        else {
            memset(s->reply + at, 0, WIRE_ENTRY_OUT_BYTES);
            at += WIRE_ENTRY_OUT_BYTES;
        }
        memcpy(s->reply + at, entry->dirent, entry->dirent_bytes);
        at += entry->dirent_bytes;
    }
    op->listed = false;
    op->reply_bytes = at;
    return 0;
}
