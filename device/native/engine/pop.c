/* SPDX-License-Identifier: Apache-2.0
 * One chain out of a ring: decide the lane, execute or hand on, publish.
 */
#include "device/native/engine/pop.h"
#include "specs/native/crash_point.h"
#include "device/native/engine/engine.h"

#include <errno.h>

void pop_flush(struct vring *v)
{
    if (v->batch_n == 0)
        return;
    vring_publish(v, v->batch, v->batch_n);
    v->batch_n = 0;
    v->batch_bytes = 0;
    vring_signal(v, false);
}

void pop_ring(struct vring *v)
{
    if (v->unrung)
        inbox_pushed(&v->engine->inbox);
    v->unrung = false;
}

static void finish(struct vring *v, struct request *r)
{
    v->batch[v->batch_n++] = r;
    v->batch_bytes += r->lane.in_total + (uint64_t)r->lane.reply_len;
    if (v->batch_n == VRING_BATCH || v->batch_bytes >= VRING_BATCH_BYTES)
        pop_flush(v);
}

static void count_fault(struct vring *v, enum chain_fault fault)
{
    struct vring_counters *c = &v->counters;
    uint64_t *const by_fault[] = {
        [CHAIN_RANGE] = &c->malformed_range, [CHAIN_LOOP] = &c->malformed_loop,
        [CHAIN_ORDER] = &c->malformed_order, [CHAIN_ZERO] = &c->malformed_zero,
        [CHAIN_INDIRECT] = &c->malformed_indirect, [CHAIN_LONG] = &c->malformed_long,
        [CHAIN_SHORT] = &c->malformed_short,
    };
    count(by_fault[fault], 1);
}

/* Before any effect: the slot, then the in-flight entry. An entry in flight always finds its slot popped. */
static void track(struct vring *v, struct request *r)
{
    uint64_t counter = __atomic_fetch_add(&v->engine->counter, 1, __ATOMIC_RELAXED);
    if (r->slot != NULL) {
        struct slot identity = {
            .epoch = __atomic_load_n(&v->engine->epoch, __ATOMIC_RELAXED),
            .unique = r->lane.header.unique,
            .counter = counter,
            .opcode = r->lane.header.opcode,
            .queue = r->lane.queue,
            .head = r->lane.head,
        };
        slot_popped(r->slot, &identity);
    }
    CRASH_POINT("slot popped");
    inflight_fetched(&v->inflight, r->lane.head, counter);
    CRASH_POINT("popped");
}

/* Past popped only when a dead worker has had it before; then its witness stays. */
static void begin(struct slot *slot)
{
    if (slot_phase_of(slot->state) == SLOT_POPPED)
        slot_executing(slot, NULL, 0);
    else
        slot_taken_up(slot);
}

static void run_data(struct vring *v, struct request *r)
{
    const struct lane_ops *ops = v->engine->config.ops;
    /* What a dead worker has left with a witness is done before anything else can be where its effect is looked for. */
    bool inline_only = v->engine->config.pool_threads == 0 || r->lane.left_n > 0;
    count(&v->counters.data, 1);
    if (r->slot != NULL)
        begin(r->slot);
    r->lane.at_once = v->by_consumer;
    CRASH_POINT("data executing");
    if (ops->execute(ops->ctx, &r->lane, inline_only) == LANE_DONE) {
        CRASH_POINT("data executed");
        finish(v, r);
    } else if (inline_only) {
        lane_finish(&r->lane, EIO, 0); /* it was told that it may block */
        finish(v, r);
    } else {
        count(&v->counters.blocked, 1);
        pool_push(&v->engine->pool, r);
    }
}

static void refuse(struct vring *v, struct request *r, int32_t error)
{
    lane_finish(&r->lane, error, 0);
    finish(v, r);
}

static void dispatch(struct vring *v, struct request *r, const struct lane_verdict *verdict)
{
    switch (verdict->kind) {
    case LANE_DATA:
        pop_ring(v); /* the interpreter needn't wait for what may take long */
        run_data(v, r);
        break;
    case LANE_STATE:
        count(&v->counters.state, 1);
        inbox_push(&v->engine->inbox, r);
        v->unrung = true;
        break;
    case LANE_REFUSE:
        count(&v->counters.refused, 1);
        refuse(v, r, verdict->error);
        break;
    case LANE_SILENT:
    default:
        count(&v->counters.silent, 1);
        finish(v, r);
        break;
    }
}

/* A chain that can't be a request: the guest gets its buffers back, with nothing written. */
static void give_back(struct vring *v, struct request *r, enum chain_fault fault)
{
    count_fault(v, fault);
    r->lane.reply_len = 0;
    r->lane.in_total = 0;
    r->lane.header = (struct lane_in_header){.len = 0};
    track(v, r);
    finish(v, r);
}

static void handle(struct vring *v, struct request *r)
{
    const struct lane_ops *ops = v->engine->config.ops;
    struct chain chain = {.iov = v->scratch};
    struct lane_verdict verdict = {.kind = LANE_REFUSE, .error = EIO, .head_bytes = 0};
    enum chain_fault fault = chain_walk(&v->table, r->lane.head, &chain);
    if (fault == CHAIN_OK)
        fault = request_begin(r, &chain);
    if (fault != CHAIN_OK) {
        give_back(v, r, fault);
        return;
    }
    ops->classify(ops->ctx, &r->lane.header, r->lane.in_total, &verdict);
    int error = request_fill(r, &chain, verdict.head_bytes);
    track(v, r);
    if (error == 0) {
        dispatch(v, r, &verdict);
        return;
    }
    count(error == E2BIG ? &v->counters.oversize : &v->counters.no_memory, 1);
    refuse(v, r, error);
}

int pop_again(struct vring *v, uint16_t head, int32_t error)
{
    struct chain chain = {.iov = v->scratch};
    struct lane_verdict verdict = {.kind = LANE_REFUSE, .error = EIO, .head_bytes = 0};
    const struct lane_ops *ops = v->engine->config.ops;
    CRASH_POINT("taking up");
    if (request_owner_of(&v->requests[head]) != REQUEST_FREE)
        return -EBUSY;
    struct request *r = vring_request(v, head);
    request_give(r, REQUEST_POPPED);
    __atomic_fetch_add(&v->in_flight, 1, __ATOMIC_RELAXED);
    enum chain_fault fault = chain_walk(&v->table, head, &chain);
    if (fault == CHAIN_OK)
        fault = request_begin(r, &chain);
    if (fault != CHAIN_OK) {
        /* It was sound when it was popped: the guest writes into what is the device's. */
        count_fault(v, fault);
        r->lane.reply_len = 0;
        finish(v, r);
    } else {
        ops->classify(ops->ctx, &r->lane.header, r->lane.in_total, &verdict);
        int trouble = request_fill(r, &chain, verdict.head_bytes);
        if (r->slot != NULL)
            r->lane.left_n = slot_witness(r->slot, r->lane.left, LANE_WITNESS_WORDS);
        if (error != 0 || trouble != 0)
            refuse(v, r, error != 0 ? error : trouble);
        else
            dispatch(v, r, &verdict);
    }
    pop_flush(v);
    return 0;
}

bool pop_one(struct vring *v)
{
    struct request *r = vring_next(v);
    if (r == NULL)
        return false;
    handle(v, r);
    return true;
}
