/* SPDX-License-Identifier: Apache-2.0
 *
 * GETATTR, STATX, STATFS, ACCESS, READLINK: questions to an inode.
 */
#include "fuse/native/data_lane/lane_op.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* An inode or a handle, whichever the request named. */
struct subject {
    struct handle *handle;
    struct inode_pin pin;
    int fd;
};

/* 0; -EAGAIN: only the pool may do it; or an error for the reply. */
static int take_inode(struct lane *lane, const struct lane_request *r, bool may_block, struct subject *s)
{
    s->handle = NULL;
    int rc = inode_pin(&lane->host->inodes, r->header.nodeid, may_block, &s->pin);
    s->fd = rc < 0 ? -1 : s->pin.fd;
    if (rc == 0 && only_pool(s->pin.fs_class, may_block)) {
        inode_unpin(&lane->host->inodes, &s->pin);
        rc = -EAGAIN;
    }
    return rc;
}

static int take_subject(struct lane *lane, const struct lane_request *r, uint32_t flags, uint64_t fh, bool may_block,
                        struct subject *s)
{
    if ((flags & WIRE_GETATTR_FH) == 0)
        return take_inode(lane, r, may_block, s);
    s->handle = handle_pin_any(&lane->host->handles, fh, r->header.nodeid);
    if (s->handle == NULL)
        return -EBADF;
    s->fd = s->handle->fd;
    if (!only_pool(handle_class(s->handle, may_block), may_block))
        return 0;
    handle_unpin(&lane->host->handles, s->handle);
    return -EAGAIN;
}

static void leave(struct lane *lane, struct subject *s)
{
    if (s->handle != NULL)
        handle_unpin(&lane->host->handles, s->handle);
    else
        inode_unpin(&lane->host->inodes, &s->pin);
}

/* What a failed take means. */
static enum lane_result not_taken(struct lane_request *r, int rc)
{
    return rc == -EAGAIN ? LANE_BLOCK : lane_errno(r, -rc);
}

enum lane_result op_getattr(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct wire_getattr_in arg = LANE_ARG(r, wire_getattr_in);
    struct subject s;
    int rc = take_subject(lane, r, arg.getattr_flags, arg.fh, may_block, &s);
    if (rc < 0)
        return not_taken(r, rc);
    struct stat st;
    rc = fast_fstat(s.fd, &st);
    leave(lane, &s);
    if (rc < 0)
        return lane_errno(r, -rc);
    struct wire_attr_out out = {
        .attr_valid = lane->attr_timeout_ns / NS_PER_S,
        .attr_valid_nsec = (uint32_t)(lane->attr_timeout_ns % NS_PER_S),
    };
    attr_from_stat(&st, &out.attr);
    return lane_body(r, &out, sizeof out);
}

static struct wire_sx_time sx_time(const struct statx_timestamp *t)
{
    return (struct wire_sx_time){.tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec};
}

static void fill_statx(const struct statx *sx, struct wire_statx *to)
{
    *to = (struct wire_statx){
        /* Nothing of the host's own, such as its mount ids. */
        .mask = sx->stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
        .blksize = sx->stx_blksize,
        .attributes = sx->stx_attributes,
        .nlink = sx->stx_nlink,
        .uid = sx->stx_uid,
        .gid = sx->stx_gid,
        .mode = sx->stx_mode,
        .ino = sx->stx_ino,
        .size = sx->stx_size,
        .blocks = sx->stx_blocks,
        .attributes_mask = sx->stx_attributes_mask,
        .atime = sx_time(&sx->stx_atime),
        .btime = sx_time(&sx->stx_btime),
        .ctime = sx_time(&sx->stx_ctime),
        .mtime = sx_time(&sx->stx_mtime),
        .rdev_major = sx->stx_rdev_major,
        .rdev_minor = sx->stx_rdev_minor,
        .dev_major = sx->stx_dev_major,
        .dev_minor = sx->stx_dev_minor,
    };
}

enum lane_result op_statx(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct wire_statx_in arg = LANE_ARG(r, wire_statx_in);
    struct subject s;
    int rc = take_subject(lane, r, arg.getattr_flags, arg.fh, may_block, &s);
    if (rc < 0)
        return not_taken(r, rc);
    struct statx sx;
    int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | (int)(arg.sx_flags & AT_STATX_SYNC_TYPE);
    rc = statx(s.fd, "", flags, arg.sx_mask & (STATX_BASIC_STATS | STATX_BTIME), &sx) < 0 ? errno : 0;
    leave(lane, &s);
    if (rc != 0)
        return lane_errno(r, rc);
    struct wire_statx_out out = {
        .attr_valid = lane->attr_timeout_ns / NS_PER_S,
        .attr_valid_nsec = (uint32_t)(lane->attr_timeout_ns % NS_PER_S),
    };
    fill_statx(&sx, &out.stat);
    return lane_body(r, &out, sizeof out);
}

enum lane_result op_statfs(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct subject s;
    int rc = take_inode(lane, r, may_block, &s);
    if (rc < 0)
        return not_taken(r, rc);
    struct statfs fs;
    rc = fstatfs(s.fd, &fs) < 0 ? errno : 0;
    leave(lane, &s);
    if (rc != 0)
        return lane_errno(r, rc);
    struct wire_kstatfs out = {
        .blocks = fs.f_blocks,
        .bfree = fs.f_bfree,
        .bavail = fs.f_bavail,
        .files = fs.f_files,
        .ffree = fs.f_ffree,
        .bsize = (uint32_t)fs.f_bsize,
        .namelen = (uint32_t)fs.f_namelen,
        .frsize = (uint32_t)fs.f_frsize,
    };
    return lane_body(r, &out, sizeof out);
}

enum lane_result op_readlink(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct subject s;
    int rc = take_inode(lane, r, may_block, &s);
    if (rc < 0)
        return not_taken(r, rc);
    char target[PATH_MAX];
    int n = host_readlink(lane->host, s.fd, target, sizeof target);
    leave(lane, &s);
    return n < 0 ? lane_errno(r, -n) : lane_body(r, target, (uint32_t)n);
}

/* The classes of access(2) with the caller's uid and gid; his supplementary groups are not in a FUSE header. */
static bool may_access(const struct stat *st, const struct lane_in_header *caller, uint32_t mask)
{
    if (caller->uid == 0) /* all but executing what nobody may execute */
        return (mask & X_OK) == 0 || S_ISDIR(st->st_mode) || (st->st_mode & 0111) != 0;
    uint32_t granted = st->st_mode & 7u;
    if (caller->uid == st->st_uid)
        granted = (st->st_mode >> 6) & 7u;
    else if (caller->gid == st->st_gid)
        granted = (st->st_mode >> 3) & 7u;
    return (mask & ~granted) == 0;
}

enum lane_result op_access(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct wire_access_in arg = LANE_ARG(r, wire_access_in);
    if ((arg.mask & ~7u) != 0)
        return lane_errno(r, EINVAL);
    struct subject s;
    int rc = take_inode(lane, r, may_block, &s);
    if (rc < 0)
        return not_taken(r, rc);
    struct stat st;
    rc = fast_fstat(s.fd, &st);
    leave(lane, &s);
    if (rc < 0)
        return lane_errno(r, -rc);
    bool special = !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode);
    if (lane->readonly && (arg.mask & W_OK) != 0 && !special)
        return lane_errno(r, EROFS);
    return lane_errno(r, may_access(&st, &r->header, arg.mask) ? 0 : EACCES);
}
