/* SPDX-License-Identifier: Apache-2.0
 * A file side for the ring layer's tests: the opcode names the lane, the reply's body is the request behind its header.
 */
#include "echo.h"

#include <sched.h>

static void classify(void *ctx, const struct lane_in_header *header, uint32_t in_total, struct lane_verdict *verdict)
{
    struct echo *echo = ctx;
    __atomic_fetch_add(&echo->classified, 1, __ATOMIC_RELAXED);
    *verdict = (struct lane_verdict){.kind = LANE_REFUSE, .error = 38, .head_bytes = 0}; /* ENOSYS */
    switch (header->opcode) {
    case ECHO_DATA:
    case ECHO_BLOCK:
        verdict->kind = LANE_DATA;
        verdict->head_bytes = (uint32_t)header->nodeid;
        break;
    case ECHO_STATE:
        verdict->kind = LANE_STATE;
        verdict->head_bytes = (uint32_t)header->nodeid;
        break;
    case ECHO_SILENT:
        verdict->kind = LANE_SILENT;
        break;
    default:
        break;
    }
}

/* By way of private memory: a guest may let its buffers overlap. */
static bool put_through(const struct lane_request *r, uint64_t at, const struct iovec *from)
{
    uint8_t part[256];
    for (size_t done = 0, n; done < from->iov_len; done += n) {
        n = from->iov_len - done < sizeof part ? from->iov_len - done : sizeof part;
        memcpy(part, (const uint8_t *)from->iov_base + done, n);
        if (!lane_put(r, at + done, part, n))
            return false;
    }
    return true;
}

static enum lane_result execute(void *ctx, struct lane_request *r, bool may_block)
{
    struct echo *echo = ctx;
    uint64_t at = sizeof(struct lane_out_header);
    bool fits;
    if (r->header.opcode == ECHO_BLOCK && !may_block)
        return LANE_BLOCK;
    while (r->header.opcode == ECHO_BLOCK && __atomic_load_n(&echo->closed, __ATOMIC_ACQUIRE))
        sched_yield();
    __atomic_fetch_add(&echo->executed, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&echo->at_once, r->at_once && !may_block, __ATOMIC_RELAXED);
    uint32_t head = r->in_len - (uint32_t)sizeof r->header;
    fits = lane_put(r, at, r->in + sizeof r->header, head);
    at += head;
    for (uint32_t i = 0; i < r->src_n && fits; i++) {
        fits = put_through(r, at, &r->src[i]);
        at += r->src[i].iov_len;
    }
    lane_finish(r, fits ? 0 : 5, (uint32_t)(at - sizeof(struct lane_out_header))); /* EIO */
    return LANE_DONE;
}

struct lane_ops echo_ops(struct echo *echo)
{
    return (struct lane_ops){.ctx = echo, .classify = classify, .execute = execute};
}

/* For a caller that has only addresses. */
static struct echo shared;
static struct lane_ops shared_ops;

struct lane_ops *echo_shared_ops(void)
{
    shared_ops = echo_ops(&shared);
    return &shared_ops;
}

struct echo *echo_shared(void)
{
    return &shared;
}
