/* SPDX-License-Identifier: Apache-2.0
 *
 * READ and WRITE: file data straight between the host's page cache and guest memory.
 *
 * In a queue's thread they must not wait for a disk: there they are RWF_NOWAIT, and what that doesn't do at once
 * goes to the pool with the bytes already moved in request->progress. Files in memory need no such care, and tmpfs
 * refuses NOWAIT. Remote ones always go to the pool, whatever their file system makes of NOWAIT.
 *
 * A write to a frozen file system waits in spite of NOWAIT: it is never done by a thread that serves all queues.
 *
 * Each request says with which flags it is meant. The guest may have changed O_DIRECT since it opened the file, and
 * pages that its kernel writes back are never direct; a write may be synchronous alone. Nothing of it is done to the
 * description that the handle's other requests use at the same time.
 */
#include "fuse/native/data_lane/append.h"
#include "fuse/native/host/creds.h"
#include "fuse/native/host/host_private.h"
#include "fuse/native/data_lane/lane_op.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

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

/* Whether O_DIRECT of the request is another than the descriptor's. */
static bool is_otherwise(const struct lane *lane, const struct handle *h, uint32_t flags)
{
    return lane->direct_io && ((flags ^ h->open_flags) & O_DIRECT) != 0;
}

/* The handle's descriptor, or one for this request alone, which use_end closes. Where a second one can't be had the
 * handle's serves, with the flag that it has. */
static int use_begin(const struct lane *lane, const struct handle *h, uint32_t flags)
{
    if (!is_otherwise(lane, h, flags))
        return h->fd;
    int has = fcntl(h->fd, F_GETFL);
    int wants = ((has & (O_ACCMODE | O_SYNC | O_DSYNC)) | (int)(flags & O_DIRECT)) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    struct fd_name name = fd_name(h->fd);
    int fd = has < 0 ? -1 : openat(lane->host->proc_fd, name.text, wants);
    return fd < 0 ? h->fd : fd;
}

static void use_end(const struct handle *h, int fd)
{
    if (fd != h->fd)
        close(fd);
}

static enum lane_result read_done(struct lane_request *r, struct handle *h)
{
    count_traffic(&h->reads, &h->bytes_read, r->progress);
    lane_finish(r, 0, (uint32_t)r->progress);
    return LANE_DONE;
}

/* Reads on from r->progress. */
static enum lane_result read_file(struct lane_request *r, struct handle *h, int fd, const struct wire_read_in *arg,
                                  bool may_block)
{
    struct iovec iov[LANE_IOV_MAX];
    uint32_t fs_class = handle_class(h, may_block);
    bool nowait = fs_class != FS_MEMORY && !may_block;
    if (only_pool(fs_class, may_block) || (nowait && has_flag(h, HANDLE_NO_NOWAIT_READ)))
        return LANE_BLOCK;
    while (r->progress < arg->size) {
        uint64_t wanted;
        uint32_t n = lane_slice(r->dst, r->dst_n, OUT_HEAD + r->progress, arg->size - r->progress, iov, &wanted);
        ssize_t got = preadv2(fd, iov, (int)n, (off_t)(arg->offset + r->progress), nowait ? RWF_NOWAIT : 0);
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
    enum lane_result result = LANE_BLOCK;
    if (may_block || handle_class(h, false) == FS_MEMORY || !is_otherwise(lane, h, arg.flags)) {
        int fd = use_begin(lane, h, arg.flags);
        result = read_file(r, h, fd, &arg, may_block);
        use_end(h, fd);
    }
    handle_unpin(&lane->host->handles, h);
    return result;
}

static enum lane_result write_done(struct lane_request *r, struct handle *h)
{
    count_traffic(&h->writes, &h->bytes_written, r->progress);
    struct wire_write_out out = {.size = (uint32_t)r->progress};
    return lane_body(r, &out, sizeof out);
}

/* Of a request's flags, what one write alone can have. */
static int sync_of(uint32_t flags)
{
    return (flags & O_SYNC) == O_SYNC ? RWF_SYNC : (flags & O_DSYNC) != 0 ? RWF_DSYNC : 0;
}

static enum lane_result write_file(struct lane_request *r, struct handle *h, int fd,
                                   const struct wire_write_in *arg, bool append, bool may_block)
{
    struct iovec iov[LANE_IOV_MAX + 1];
    uint64_t wanted;
    uint32_t n = write_iov(r, r->progress, arg->size - r->progress, iov, &wanted);
    if (wanted != arg->size - r->progress || n > LANE_IOV_MAX)
        return lane_errno(r, EIO);
    bool nowait = handle_class(h, may_block) != FS_MEMORY && !may_block;
    if (append)
        append_witness(r, h->fd);
    int flags = (nowait ? RWF_NOWAIT : 0) | (append ? RWF_APPEND : 0) | sync_of(arg->flags);
    ssize_t put = pwritev2(fd, iov, (int)n, (off_t)(arg->offset + r->progress), flags);
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

static enum lane_result append_file(struct lane *lane, struct lane_request *r, struct handle *h, int fd,
                                    const struct wire_write_in *arg, bool may_block)
{
    struct append_locks *locks = &lane->append_locks;
    struct append_hold hold;
    if (!append_lock(locks, &hold, r->header.nodeid, may_block))
        return LANE_BLOCK;
    if (r->left_n > 0)
        append_resume(lane, r, h->fd, arg->size);
    enum lane_result result = r->progress > 0 && r->progress == arg->size ? write_done(r, h)
                                                                         : write_file(r, h, fd, arg, true, may_block);
    append_unlock(locks, &hold);
    return result;
}

/* With a write-back cache the guest's kernel places appends itself. */
static bool is_append(const struct lane *lane, const struct wire_write_in *arg)
{
    return (arg->flags & O_APPEND) != 0 && !lane->writeback;
}

/* Whether it would wait, as far as that can be told before it is tried. */
static bool write_waits(const struct lane *lane, const struct lane_request *r, struct handle *h,
                        const struct wire_write_in *arg)
{
    uint32_t fs_class = handle_class(h, false);
    if (fs_class == FS_MEMORY)
        return false;
    /* An append must not be done in two parts, between which another one may come. What is synchronous waits. */
    return is_append(lane, arg) || ((arg->flags | h->open_flags) & O_DSYNC) != 0 || is_otherwise(lane, h, arg->flags) ||
           r->at_once || fs_class == FS_REMOTE || has_flag(h, HANDLE_NO_NOWAIT);
}

static enum lane_result write_as_asked(struct lane *lane, struct lane_request *r, struct handle *h,
                                       const struct wire_write_in *arg, bool may_block)
{
    bool append = is_append(lane, arg);
    bool kill = (arg->write_flags & WIRE_WRITE_KILL_SUIDGID) != 0;
    int rc = kill ? killpriv_begin(h->fd) : 0;
    if (rc < 0)
        return lane_errno(r, -rc);
    int fd = use_begin(lane, h, arg->flags);
    enum lane_result result = append ? append_file(lane, r, h, fd, arg, may_block)
                                     : write_file(r, h, fd, arg, false, may_block);
    use_end(h, fd);
    if (kill)
        killpriv_end();
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
    if ((arg.write_flags & WIRE_WRITE_CACHE) != 0)
        arg.flags &= ~(uint32_t)O_DIRECT;
    enum lane_result result = LANE_BLOCK;
    if (may_block || !write_waits(lane, r, h, &arg))
        result = write_as_asked(lane, r, h, &arg, may_block);
    handle_unpin(&lane->host->handles, h);
    return result;
}
