/* SPDX-License-Identifier: Apache-2.0
 * A worker's first steps on a vring that an earlier worker left in the middle: which slots are in flight is decided in
 * Python (device/recovery/decisions.py), what becomes of each is done here. No queue thread runs yet.
 */
#include "device/native/engine/engine.h"
#include "device/native/engine/pop.h"

#include <errno.h>
#include <string.h>

static struct vring *idle_vring(struct engine *e, uint32_t queue)
{
    if (queue >= e->config.queues || e->vrings[queue].thread_made)
        return NULL;
    return &e->vrings[queue];
}

int engine_vring_used_idx(struct engine *e, uint32_t queue)
{
    struct vring *v = idle_vring(e, queue);
    if (v == NULL || v->num == 0)
        return -EINVAL;
    return v->used_idx;
}

int engine_slot_scrubbed(struct engine *e, uint32_t queue, uint32_t head)
{
    struct vring *v = idle_vring(e, queue);
    if (v == NULL || head >= v->num || v->slots == NULL)
        return -EINVAL;
    slot_scrubbed(v->slots + head);
    return 0;
}

int engine_slot_died_with(struct engine *e, uint32_t queue, uint32_t head, uint32_t weight)
{
    struct vring *v = idle_vring(e, queue);
    if (v == NULL || head >= v->num || v->slots == NULL || weight > UINT16_MAX)
        return -EINVAL;
    return slot_died_with(v->slots + head, (uint16_t)weight);
}

int engine_vring_peek(struct engine *e, uint32_t queue, uint32_t head, struct lane_in_header *out)
{
    struct vring *v = idle_vring(e, queue);
    if (v == NULL || head >= v->num || v->avail == NULL)
        return -EINVAL;
    struct chain chain = {.iov = v->scratch};
    if (request_owner_of(&v->requests[head]) != REQUEST_FREE)
        return -EBUSY;
    struct request *r = vring_request(v, (uint16_t)head);
    if (chain_walk(&v->table, (uint16_t)head, &chain) != CHAIN_OK || request_begin(r, &chain) != CHAIN_OK)
        return -EPROTO;
    *out = r->lane.header;
    return 0;
}

int engine_vring_ring(struct engine *e, uint32_t queue, uint16_t *avail_idx, uint16_t *avail, uint16_t *used)
{
    struct vring *v = idle_vring(e, queue);
    if (v == NULL || v->num == 0 || v->avail == NULL)
        return -EINVAL;
    *avail_idx = vring_avail_idx(v);
    for (uint16_t at = 0; at < v->num; at++) {
        uint32_t head;
        avail[at] = __atomic_load_n(&v->avail[2 + at], __ATOMIC_RELAXED);
        memcpy(&head, v->used + 4 + 8u * (size_t)at, sizeof head);
        used[at] = head < v->num ? (uint16_t)head : UINT16_MAX;
    }
    return v->num;
}

int engine_resubmit(struct engine *e, uint32_t queue, uint32_t head, int32_t error)
{
    struct vring *v = idle_vring(e, queue);
    if (v == NULL || head >= v->num || v->avail == NULL || error < 0)
        return -EINVAL;
    pthread_mutex_lock(&v->pop_lock);
    v->by_consumer = true;
    int rc = pop_again(v, (uint16_t)head, error);
    v->by_consumer = false;
    pthread_mutex_unlock(&v->pop_lock);
    return rc;
}

int engine_vring_rebase(struct engine *e, uint32_t queue, uint16_t base)
{
    struct vring *v = idle_vring(e, queue);
    if (v == NULL || v->num == 0)
        return -EINVAL;
    if (__atomic_load_n(&v->in_flight, __ATOMIC_ACQUIRE) != 0)
        return -EBUSY;
    vring_rebase(v, base);
    return 0;
}

void engine_counter_raise(struct engine *e, uint64_t counter)
{
    if (counter > __atomic_load_n(&e->counter, __ATOMIC_RELAXED))
        __atomic_store_n(&e->counter, counter, __ATOMIC_RELAXED);
}

/* Whatever nobody works on any more was published by the worker that died, which could not say so. */
int engine_vring_settle(struct engine *e, uint32_t queue)
{
    struct vring *v = idle_vring(e, queue);
    if (v == NULL)
        return -EINVAL;
    for (uint16_t head = 0; head < v->num; head++) {
        bool told = v->slots != NULL && slot_is_told(v->slots + head);
        if ((!told && v->inflight.queue == NULL) || request_owner_of(&v->requests[head]) != REQUEST_FREE)
            continue;
        inflight_cleared(&v->inflight, head);
        if (told)
            slot_recycled(v->slots + head);
    }
    inflight_synced(&v->inflight, v->used_idx);
    return 0;
}
