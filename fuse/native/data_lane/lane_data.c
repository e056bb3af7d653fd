/* SPDX-License-Identifier: Apache-2.0
 *
 * READ and WRITE: file data straight between the host's page cache and guest memory.
 *
 * In a queue's thread they must not wait for a disk: there they are RWF_NOWAIT, and what that doesn't do at once
 * goes to the pool with the bytes already moved in request->progress. Files in memory need no such care, and tmpfs
 * refuses NOWAIT.
 */
#include "fuse/native/data_lane/append.h"
#include "fuse/native/host/creds.h"
#include "fuse/native/data_lane/lane_op.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

/* The kernel's limit for one read or write, MAX_RW_COUNT; requests are far smaller. */
#define RW_BYTES_MAX 0x7ffff000u

static bool has_flag(const struct handle *h, uint8_t flag)
{
    return (atomic_load_explicit(&h->flags, memory_order_relaxed) & flag) != 0;
}

static void set_flag(struct handle *h, uint8_t flag)
{
    atomic_fetch_or_explicit(&h->flags, flag, memory_order_relaxed);
}

static void count_traffic(_Atomic uint64_t *times, _Atomic uint64_t *bytes, uint64_t n)
{
    atomic_fetch_add_explicit(times, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(bytes, n, memory_order_relaxed);
}

static enum lane_result read_done(struct lane_request *r, struct handle *h)
{
    count_traffic(&h->reads, &h->bytes_read, r->progress);
    lane_finish(r, 0, (uint32_t)r->progress);
    return LANE_DONE;
}

/* Reads on from r->progress. */
static enum lane_result read_file(struct lane_request *r, struct handle *h, const struct wire_read_in *arg, bool may_block)
{
    struct iovec iov[LANE_IOV_MAX];
    bool nowait = handle_class(h, may_block) != FS_MEMORY && !may_block;
    if (nowait && has_flag(h, HANDLE_NO_NOWAIT_READ))
        return LANE_BLOCK;
    while (r->progress < arg->size) {
        uint64_t wanted;
        uint32_t n = lane_slice(r->dst, r->dst_n, OUT_HEAD + r->progress, arg->size - r->progress, iov, &wanted);
        ssize_t got = preadv2(h->fd, iov, (int)n, (off_t)(arg->offset + r->progress), nowait ? RWF_NOWAIT : 0);
        if (got < 0 && nowait && (errno == EAGAIN || errno == EOPNOTSUPP)) {
            if (errno == EOPNOTSUPP)
                set_flag(h, HANDLE_NO_NOWAIT_READ);
            return LANE_BLOCK;
        }
        if (got < 0 && r->progress == 0)
            return lane_errno(r, errno);
        if (got <= 0)
            break;
        r->progress += (uint64_t)got;
        /* A short read that could wait has met the end of the file; without waiting it may have met a page that
         * is not there yet. */
        if (!nowait && (uint64_t)got < wanted)
            break;
    }
    return read_done(r, h);
}

enum lane_result op_read(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct wire_read_in arg = LANE_ARG(r, wire_read_in);
    if (arg.size > lane_room(r) || arg.size > RW_BYTES_MAX)
        return lane_errno(r, EIO);
    if (arg.offset > (uint64_t)INT64_MAX - arg.size)
        return lane_errno(r, EINVAL);
    if (r->dst_n > LANE_IOV_MAX)
        return lane_errno(r, EIO);
    struct handle *h = handle_pin(&lane->host->handles, arg.fh, r->header.nodeid, HANDLE_FILE);
    if (h == NULL)
        return lane_errno(r, EBADF);
    enum lane_result result = read_file(r, h, &arg, may_block);
    handle_unpin(&lane->host->handles, h);
    return result;
}

static enum lane_result write_done(struct lane_request *r, struct handle *h)
{
    count_traffic(&h->writes, &h->bytes_written, r->progress);
    struct wire_write_out out = {.size = (uint32_t)r->progress};
    return lane_body(r, &out, sizeof out);
}

static enum lane_result write_file(struct lane_request *r, struct handle *h,
                                   const struct wire_write_in *arg, bool append, bool may_block)
{
    struct iovec iov[LANE_IOV_MAX + 1];
    uint64_t wanted;
    uint32_t n = write_iov(r, r->progress, arg->size - r->progress, iov, &wanted);
    if (wanted != arg->size - r->progress || n > LANE_IOV_MAX)
        return lane_errno(r, EIO);
    bool nowait = handle_class(h, may_block) != FS_MEMORY && !may_block;
    /* An append must not be done in two parts, between which another one may come. */
    if (nowait && (append || has_flag(h, HANDLE_NO_NOWAIT)))
        return LANE_BLOCK;
    if (append)
        append_witness(r, h->fd);
    int flags = (nowait ? RWF_NOWAIT : 0) | (append ? RWF_APPEND : 0);
    ssize_t put = pwritev2(h->fd, iov, (int)n, (off_t)(arg->offset + r->progress), flags);
    if (put < 0 && nowait && (errno == EAGAIN || errno == EOPNOTSUPP)) {
        if (errno == EOPNOTSUPP)
            set_flag(h, HANDLE_NO_NOWAIT);
        return LANE_BLOCK;
    }
    if (put < 0 && r->progress == 0)
        return lane_errno(r, errno);
    if (put > 0)
        r->progress += (uint64_t)put;
    if (put > 0 && nowait && r->progress < arg->size)
        return LANE_BLOCK;
    return write_done(r, h);
}

static enum lane_result append_file(struct lane *lane, struct lane_request *r, struct handle *h,
                                    const struct wire_write_in *arg, bool may_block)
{
    struct append_locks *locks = &lane->append_locks;
    append_lock(locks, r->header.nodeid);
    if (r->left_n > 0)
        append_resume(lane, r, h->fd, arg->size);
    enum lane_result result = r->progress > 0 && r->progress == arg->size ? write_done(r, h)
                                                                         : write_file(r, h, arg, true, may_block);
    append_unlock(locks, r->header.nodeid);
    return result;
}

enum lane_result op_write(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct wire_write_in arg = LANE_ARG(r, wire_write_in);
    if (lane->readonly)
        return lane_errno(r, EROFS);
    if (arg.size > RW_BYTES_MAX || arg.size > r->in_total - IN_HEAD - sizeof arg || r->src_n > LANE_IOV_MAX)
        return lane_errno(r, EIO);
    if (arg.offset > (uint64_t)INT64_MAX - arg.size)
        return lane_errno(r, EFBIG);
    /* An answer that does not fit would be an acknowledged write without its length. */
    if (lane_room(r) < sizeof(struct wire_write_out))
        return lane_errno(r, EIO);
    struct handle *h = handle_pin(&lane->host->handles, arg.fh, r->header.nodeid, HANDLE_FILE);
    if (h == NULL)
        return lane_errno(r, EBADF);
    /* With a write-back cache the guest's kernel places appends itself. */
    bool append = (arg.flags & O_APPEND) != 0 && !lane->writeback;
    bool kill = (arg.write_flags & WIRE_WRITE_KILL_SUIDGID) != 0;
    int rc = kill ? killpriv_begin(h->fd) : 0;
    enum lane_result result;
    if (rc < 0)
        result = lane_errno(r, -rc);
    else if (append)
        result = append_file(lane, r, h, &arg, may_block);
    else
        result = write_file(r, h, &arg, false, may_block);
    if (kill && rc == 0)
        killpriv_end();
    handle_unpin(&lane->host->handles, h);
    return result;
}
