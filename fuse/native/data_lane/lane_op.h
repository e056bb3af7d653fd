/* SPDX-License-Identifier: Apache-2.0
 *
 * What the executors of the native lane share. An executor finds at least its argument struct in request->in
 * (lane_set_row made sure of it) and has not more than that from the guest: it checks all the rest.
 */
#ifndef STEADFS_LANE_OP_H
#define STEADFS_LANE_OP_H

#include "fuse/native/data_lane/lane_fuse.h"

#define IN_HEAD ((uint32_t)sizeof(struct lane_in_header))
#define OUT_HEAD ((uint32_t)sizeof(struct lane_out_header))
#define NS_PER_S 1000000000u

typedef enum lane_result lane_op_fn(struct lane *lane, struct lane_request *r, bool may_block);

lane_op_fn op_read, op_write, op_getattr, op_statx, op_statfs, op_readdir, op_readlink, op_lseek, op_fsync, op_fsyncdir,
    op_flush, op_access, op_getxattr, op_listxattr, op_fallocate, op_copy_file_range, op_copy_file_range_64, op_syncfs;

/* The argument struct behind the header; copied, since `in` need not be aligned. */
#define LANE_ARG(request, type) \
    ({ \
        struct type arg_; \
        memcpy(&arg_, (request)->in + IN_HEAD, sizeof arg_); \
        arg_; \
    })

/* Whether only the pool may do it: NFS, SMB, FUSE and what else is not known may wait for anything, also for a question. */
static inline bool only_pool(uint32_t fs_class, bool may_block)
{
    return fs_class == FS_REMOTE && !may_block;
}

/* Done with a positive errno (0: an empty reply). */
static inline enum lane_result lane_errno(struct lane_request *r, int error)
{
    lane_finish(r, error, 0);
    return LANE_DONE;
}

static inline enum lane_result lane_body(struct lane_request *r, const void *body, uint32_t len)
{
    lane_answer(r, 0, body, len);
    return LANE_DONE;
}

/* Bytes of the reply's body that fit. */
static inline uint64_t lane_room(const struct lane_request *r)
{
    return r->dst_len > OUT_HEAD ? r->dst_len - OUT_HEAD : 0;
}

/* The data of a WRITE from byte `skip` on, at most `size` bytes: iovecs in `to` (room for LANE_IOV_MAX + 1). Returns
 * their number, and in *got the bytes that they hold. */
uint32_t write_iov(const struct lane_request *r, uint64_t skip, uint64_t size, struct iovec *to, uint64_t *got);

/* The iovecs of `from` without their first `skip` bytes and not more than `size` in all. Returns their number
 * (at most from_n), and in *got the bytes that they hold. */
uint32_t lane_slice(const struct iovec *from, uint32_t from_n, uint64_t skip, uint64_t size, struct iovec *to,
                    uint64_t *got);

#endif
