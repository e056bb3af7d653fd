/* SPDX-License-Identifier: Apache-2.0
 * The interpreter's side of stateful requests: slot steps, reply, publish.
 */
#include "specs/native/crash_point.h"
#include "device/native/engine/engine.h"

#include <errno.h>

static struct request *of(struct lane_request *lane)
{
    return (struct request *)lane; /* its first member */
}

int engine_doorbell(struct engine *e)
{
    return e->inbox.doorbell;
}

static bool is_taken(struct lane_request *lane)
{
    return lane != NULL && request_owner_of(of(lane)) == REQUEST_TAKEN;
}

int engine_reply(struct lane_request *r, const char *message, uint32_t bytes)
{
    struct lane_out_header out;
    if (!is_taken(r))
        return -EINVAL;
    r->reply_len = 0;
    r->error = 0;
    if (bytes == 0)
        return 0;
    if (bytes < sizeof out)
        return -EINVAL;
    memcpy(&out, message, sizeof out);
    if (out.len != bytes || out.unique != r->header.unique || out.error > 0 || out.error == INT32_MIN)
        return -EINVAL;
    if (lane_put(r, 0, message, bytes)) {
        r->reply_len = bytes;
        r->error = -out.error;
    } else {
        lane_finish(r, EIO, 0); /* the guest left too little room */
    }
    return 0;
}

int engine_executing(struct lane_request *r, const uint64_t *witness, uint32_t words)
{
    if (!is_taken(r) || words > SLOT_WITNESS_WORDS)
        return -EINVAL;
    if (of(r)->slot != NULL)
        slot_executing(of(r)->slot, witness, words);
    return 0;
}

int engine_taken_up(struct lane_request *r)
{
    if (!is_taken(r))
        return -EINVAL;
    struct slot *slot = of(r)->slot;
    if (slot != NULL && slot_phase_of(slot->state) >= SLOT_EXECUTED)
        slot_taken_up(slot);
    return 0;
}

int engine_executed(struct lane_request *r, int32_t error, uint32_t bytes)
{
    if (!is_taken(r))
        return -EINVAL;
    if (of(r)->slot != NULL)
        slot_executed(of(r)->slot, error, bytes);
    return 0;
}

int engine_answer(struct lane_request *r, int32_t error, const char *message, uint32_t bytes)
{
    int rc = engine_executed(r, error, bytes);
    return rc < 0 ? rc : engine_reply(r, message, bytes);
}

int engine_committed(struct lane_request **batch, uint32_t n)
{
    CRASH_POINT("before the slots are committed");
    for (uint32_t i = 0; i < n; i++) {
        if (!is_taken(batch[i]))
            return -EINVAL;
        if (of(batch[i])->slot != NULL)
            slot_committed(of(batch[i])->slot);
        CRASH_POINT("slot committed");
    }
    return 0;
}

/* Claims all or none: a request that is in the batch twice, or was published before, is the caller's mistake. */
static bool claim(struct lane_request **batch, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (is_taken(batch[i])) {
            request_give(of(batch[i]), REQUEST_PUBLISHING);
            continue;
        }
        while (i-- > 0)
            request_give(of(batch[i]), REQUEST_TAKEN);
        return false;
    }
    return true;
}

int engine_publish(struct engine *e, struct lane_request **batch, uint32_t n)
{
    if (!claim(batch, n))
        return -EINVAL;
    for (uint32_t from = 0, to; from < n; from = to) {
        struct vring *v = of(batch[from])->vring;
        for (to = from + 1; to < n && of(batch[to])->vring == v; to++)
            ;
        vring_publish(v, (struct request *const *)(void *)&batch[from], to - from);
        v->to_signal = true;
    }
    for (uint32_t i = 0; i < e->config.queues; i++)
        if (e->vrings[i].to_signal) {
            e->vrings[i].to_signal = false;
            vring_signal(&e->vrings[i], false);
        }
    return 0;
}
