/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/data_lane/lane_op.h"

uint32_t lane_slice(const struct iovec *from, uint32_t from_n, uint64_t skip, uint64_t size, struct iovec *to,
                    uint64_t *got)
{
    uint32_t n = 0;
    *got = 0;
    for (uint32_t i = 0; i < from_n && *got < size; i++) {
        size_t have = from[i].iov_len;
        if (skip >= have) {
            skip -= have;
            continue;
        }
        size_t len = have - skip;
        if (len > size - *got)
            len = (size_t)(size - *got);
        to[n++] = (struct iovec){.iov_base = (uint8_t *)from[i].iov_base + skip, .iov_len = len};
        *got += len;
        skip = 0;
    }
    return n;
}

/* The data of a WRITE: what lies in `in` behind the argument, then src. */
uint32_t write_iov(const struct lane_request *r, uint64_t skip, uint64_t size, struct iovec *to, uint64_t *got)
{
    uint32_t head = IN_HEAD + (uint32_t)sizeof(struct wire_write_in);
    struct iovec first = {.iov_base = (uint8_t *)(uintptr_t)r->in + head, .iov_len = r->in_len - head};
    uint32_t n = lane_slice(&first, 1, skip, size, to, got);
    uint64_t more = 0;
    skip = skip > first.iov_len ? skip - first.iov_len : 0;
    n += lane_slice(r->src, r->src_n, skip, size - *got, to + n, &more);
    *got += more;
    return n;
}
