/* SPDX-License-Identifier: Apache-2.0
 *
 * LSEEK, FSYNC, FSYNCDIR, FLUSH, SYNCFS, FALLOCATE, COPY_FILE_RANGE.
 */
#include "fuse/native/host/creds.h"
#include "fuse/native/data_lane/lane_op.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

/* What Linux guests send. COLLAPSE and INSERT shift data: done twice after a crash they would destroy it. */
#define FALLOCATE_MODES (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)
/* The reply of COPY_FILE_RANGE has 32 bits; the kernel moves no more than this in one call anyway. */
#define COPY_BYTES_MAX 0x7ffff000u

enum lane_result op_lseek(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct wire_lseek_in arg = LANE_ARG(r, wire_lseek_in);
    /* The host descriptor's position means nothing, so SEEK_CUR doesn't either. */
    if (arg.whence != SEEK_DATA && arg.whence != SEEK_HOLE && arg.whence != SEEK_SET && arg.whence != SEEK_END)
        return lane_errno(r, EINVAL);
    struct handle *h = handle_pin(&lane->host->handles, arg.fh, r->header.nodeid, HANDLE_FILE);
    if (h == NULL)
        return lane_errno(r, EBADF);
    off_t at = -1;
    int error = 0;
    /* Finding data may read block maps. */
    bool block = handle_class(h, may_block) != FS_MEMORY && !may_block;
    if (!block && (at = lseek(h->fd, (off_t)arg.offset, (int)arg.whence)) < 0)
        error = errno;
    handle_unpin(&lane->host->handles, h);
    if (block)
        return LANE_BLOCK;
    struct wire_lseek_out out = {.offset = (uint64_t)at};
    return error != 0 ? lane_errno(r, error) : lane_body(r, &out, sizeof out);
}

static enum lane_result sync_handle(struct lane *lane, struct lane_request *r, bool may_block, enum handle_kind kind)
{
    struct wire_fsync_in arg = LANE_ARG(r, wire_fsync_in);
    struct handle *h = handle_pin(&lane->host->handles, arg.fh, r->header.nodeid, kind);
    if (h == NULL)
        return lane_errno(r, EBADF);
    bool block = handle_class(h, may_block) != FS_MEMORY && !may_block;
    int error = 0;
    if (!block) {
        bool data_only = (arg.fsync_flags & WIRE_FSYNC_FDATASYNC) != 0;
        error = (data_only ? fdatasync(h->fd) : fsync(h->fd)) < 0 ? errno : 0;
    }
    handle_unpin(&lane->host->handles, h);
    return block ? LANE_BLOCK : lane_errno(r, error);
}

enum lane_result op_fsync(struct lane *lane, struct lane_request *r, bool may_block)
{
    return sync_handle(lane, r, may_block, HANDLE_FILE);
}

enum lane_result op_fsyncdir(struct lane *lane, struct lane_request *r, bool may_block)
{
    return sync_handle(lane, r, may_block, HANDLE_DIR);
}

enum lane_result op_flush(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct wire_flush_in arg = LANE_ARG(r, wire_flush_in);
    struct handle *h = handle_pin(&lane->host->handles, arg.fh, r->header.nodeid, HANDLE_FILE);
    if (h == NULL)
        return lane_errno(r, EBADF);
    /* Closing a duplicate makes the file system report what a close would (NFS and quotas do). Only network file
     * systems do any work then. */
    bool block = handle_class(h, may_block) == FS_REMOTE && !may_block;
    int error = 0;
    if (!block) {
        int copy = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
        error = copy < 0 || close(copy) < 0 ? errno : 0;
    }
    handle_unpin(&lane->host->handles, h);
    return block ? LANE_BLOCK : lane_errno(r, error);
}

enum lane_result op_syncfs(struct lane *lane, struct lane_request *r, bool may_block)
{
    if (!may_block)
        return LANE_BLOCK;
    struct inode_pin pin;
    int rc = inode_pin(&lane->host->inodes, r->header.nodeid, true, &pin);
    if (rc < 0)
        return lane_errno(r, -rc);
    /* syncfs refuses O_PATH descriptors. */
    int fd = host_reopen(lane->host, pin.fd, O_RDONLY | O_NONBLOCK);
    inode_unpin(&lane->host->inodes, &pin);
    if (fd < 0)
        return lane_errno(r, -fd);
    int error = syncfs(fd) < 0 ? errno : 0;
    close(fd);
    return lane_errno(r, error);
}

/* FALLOCATE and COPY_FILE_RANGE have no flag that says whether the caller may keep set-id bits; guests' root may. */
static int killpriv_of(const struct lane_request *r, int fd)
{
    return r->header.uid == 0 ? 0 : -killpriv_begin(fd);
}

enum lane_result op_fallocate(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct wire_fallocate_in arg = LANE_ARG(r, wire_fallocate_in);
    if (lane->readonly)
        return lane_errno(r, EROFS);
    if ((arg.mode & ~(uint32_t)FALLOCATE_MODES) != 0)
        return lane_errno(r, EOPNOTSUPP);
    /* Even in memory: pages are allocated and cleared, as many as the guest likes. */
    if (!may_block)
        return LANE_BLOCK;
    struct handle *h = handle_pin(&lane->host->handles, arg.fh, r->header.nodeid, HANDLE_FILE);
    if (h == NULL)
        return lane_errno(r, EBADF);
    int error = killpriv_of(r, h->fd);
    if (error == 0 && fallocate(h->fd, (int)arg.mode, (off_t)arg.offset, (off_t)arg.length) < 0)
        error = errno;
    killpriv_end();
    handle_unpin(&lane->host->handles, h);
    return lane_errno(r, error);
}

/* Bytes copied or -errno. */
static int64_t copy(struct lane *lane, const struct lane_request *r, const struct wire_copy_file_range_in *arg)
{
    struct handles *handles = &lane->host->handles;
    struct handle *in = handle_pin(handles, arg->fh_in, r->header.nodeid, HANDLE_FILE);
    struct handle *out = handle_pin(handles, arg->fh_out, arg->nodeid_out, HANDLE_FILE);
    int64_t n = -EBADF;
    if (in != NULL && out != NULL) {
        off_t from = (off_t)arg->off_in, to = (off_t)arg->off_out;
        size_t len = arg->len < COPY_BYTES_MAX ? (size_t)arg->len : COPY_BYTES_MAX;
        int error = killpriv_of(r, out->fd);
        ssize_t done = error ? 0 : copy_file_range(in->fd, &from, out->fd, &to, len, 0);
        n = error ? -error : done < 0 ? -errno : done;
        killpriv_end();
        if (n > 0) {
            atomic_fetch_add_explicit(&in->reads, 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&in->bytes_read, (uint64_t)n, memory_order_relaxed);
            atomic_fetch_add_explicit(&out->writes, 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&out->bytes_written, (uint64_t)n, memory_order_relaxed);
        }
    }
    if (in != NULL)
        handle_unpin(handles, in);
    if (out != NULL)
        handle_unpin(handles, out);
    return n;
}

/* How much was copied as a 32- or a 64-bit number. */
static enum lane_result copy_range(struct lane *lane, struct lane_request *r, bool may_block, bool wide)
{
    struct wire_copy_file_range_in arg = LANE_ARG(r, wire_copy_file_range_in);
    if (lane->readonly)
        return lane_errno(r, EROFS);
    if (arg.flags != 0 || arg.off_in > INT64_MAX || arg.off_out > INT64_MAX)
        return lane_errno(r, EINVAL);
    if (lane_room(r) < sizeof(struct wire_copy_file_range_out))
        return lane_errno(r, EIO);
    if (!may_block)
        return LANE_BLOCK;
    int64_t n = copy(lane, r, &arg);
    if (n < 0)
        return lane_errno(r, (int)-n);
    struct wire_copy_file_range_out out64 = {.bytes_copied = (uint64_t)n};
    struct wire_write_out out32 = {.size = (uint32_t)n};
    return wide ? lane_body(r, &out64, sizeof out64) : lane_body(r, &out32, sizeof out32);
}

enum lane_result op_copy_file_range(struct lane *lane, struct lane_request *r, bool may_block)
{
    return copy_range(lane, r, may_block, false);
}

enum lane_result op_copy_file_range_64(struct lane *lane, struct lane_request *r, bool may_block)
{
    return copy_range(lane, r, may_block, true);
}
