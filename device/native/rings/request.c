/* SPDX-License-Identifier: Apache-2.0 */
#include "device/native/rings/request.h"
#include "specs/native/crash_point.h"
#include "specs/native/limits.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Copies bytes out of the readable part; returns the index of the iovec where the rest begins and its offset there. */
static uint32_t copy_out(const struct chain *chain, uint64_t at, uint8_t *to, size_t bytes, size_t *offset)
{
    uint32_t i = 0;
    while (i < chain->src_n && at >= chain->iov[i].iov_len)
        at -= chain->iov[i++].iov_len;
    while (bytes > 0 && i < chain->src_n) {
        size_t have = chain->iov[i].iov_len - at;
        size_t n = have < bytes ? have : bytes;
        memcpy(to, (const uint8_t *)chain->iov[i].iov_base + at, n);
        to += n;
        bytes -= n;
        at += n;
        if (at == chain->iov[i].iov_len) {
            at = 0;
            i++;
        }
    }
    __asm__ __volatile__("" : : : "memory"); /* the private copy is the only one from here on */
    *offset = at;
    return i;
}

static void keep_witness(struct lane_request *lane, const uint64_t *words, uint32_t n)
{
    struct request *r = (struct request *)lane;
    CRASH_POINT("before the witness");
    slot_executing(r->slot, words, n);
    CRASH_POINT("after the witness");
}

static void keep_executed(struct lane_request *lane, int32_t error, uint32_t bytes)
{
    struct request *r = (struct request *)lane;
    CRASH_POINT("before executed");
    slot_executed(r->slot, error, bytes);
    CRASH_POINT("after executed");
}

enum chain_fault request_begin(struct request *r, const struct chain *chain)
{
    size_t offset;
    struct lane_request *lane = &r->lane;
    if (chain->src_bytes < sizeof lane->header)
        return CHAIN_SHORT;
    copy_out(chain, 0, (uint8_t *)&lane->header, sizeof lane->header, &offset);
    lane->in = (const uint8_t *)&lane->header;
    lane->in_len = sizeof lane->header;
    lane->in_total = (uint32_t)chain->src_bytes;
    lane->src_n = lane->dst_n = 0;
    lane->dst_len = chain->dst_bytes;
    lane->reply_len = 0;
    lane->error = 0;
    lane->progress = 0;
    lane->popped_ns = 0;
    lane->witness = r->slot != NULL ? keep_witness : NULL;
    lane->executed = r->slot != NULL ? keep_executed : NULL;
    lane->left_n = 0;
    return CHAIN_OK;
}

static struct iovec *iov_room(struct request *r, uint32_t n)
{
    if (n <= REQUEST_INLINE_IOV)
        return r->inline_iov;
    r->big_iov = malloc(n * sizeof(struct iovec));
    return r->big_iov;
}

/* Of all requests that wait: else a guest's heads, of all its rings' entries, could be hundreds of megabytes. */
static _Atomic uint64_t big_bytes;

static uint8_t *in_room(struct request *r, uint32_t bytes)
{
    if (bytes <= REQUEST_INLINE_IN_BYTES)
        return r->inline_in;
    if (atomic_fetch_add(&big_bytes, bytes) + bytes <= LIMIT_HEADS_MAX_BYTES)
        r->big_in = malloc(bytes);
    if (r->big_in == NULL)
        atomic_fetch_sub(&big_bytes, bytes);
    else
        r->big_in_bytes = bytes;
    return r->big_in;
}

int request_fill(struct request *r, const struct chain *chain, uint32_t head_bytes)
{
    struct lane_request *lane = &r->lane;
    struct iovec *iov = iov_room(r, chain->src_n + chain->dst_n);
    if (iov == NULL)
        return ENOMEM;
    lane->dst = iov;
    lane->dst_n = chain->dst_n;
    memcpy(iov, chain->iov + chain->src_n, chain->dst_n * sizeof *iov);
    lane->src = iov + chain->dst_n;
    if (head_bytes > lane->in_total)
        head_bytes = lane->in_total;
    if (head_bytes < sizeof lane->header)
        head_bytes = sizeof lane->header;
    if (head_bytes > LANE_IN_BYTES_MAX)
        return E2BIG;
    uint8_t *in = in_room(r, head_bytes);
    if (in == NULL)
        return ENOMEM;
    size_t offset;
    memcpy(in, &lane->header, sizeof lane->header);
    uint32_t rest = copy_out(chain, sizeof lane->header, in + sizeof lane->header,
                             head_bytes - sizeof lane->header, &offset);
    lane->in = in;
    lane->in_len = head_bytes;
    lane->src_n = chain->src_n - rest;
    memcpy(lane->src, chain->iov + rest, lane->src_n * sizeof *iov);
    if (lane->src_n > 0) {
        lane->src[0].iov_base = (uint8_t *)lane->src[0].iov_base + offset;
        lane->src[0].iov_len -= offset;
    }
    return 0;
}

void request_recycle(struct request *r)
{
    if (r->big_in != NULL)
        atomic_fetch_sub(&big_bytes, r->big_in_bytes);
    free(r->big_in);
    free(r->big_iov);
    r->big_in = NULL;
    r->big_iov = NULL;
}
