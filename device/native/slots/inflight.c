/* SPDX-License-Identifier: Apache-2.0 */
#include "device/native/slots/inflight.h"

#include <errno.h>

#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)

uint64_t inflight_queue_bytes(uint16_t num)
{
    uint64_t bytes = sizeof(struct inflight_queue) + (uint64_t)num * sizeof(struct inflight_desc);
    return (bytes + INFLIGHT_ALIGN_BYTES - 1) / INFLIGHT_ALIGN_BYTES * INFLIGHT_ALIGN_BYTES;
}

void inflight_start(struct inflight *i, uint16_t num, uint16_t used_idx)
{
    i->num = num;
    i->last_batch_head = 0;
    if (i->queue == NULL)
        return;
    STORE(i->queue->version, 0); /* fresh until all of it stands */
    for (uint16_t head = 0; head < num; head++) {
        STORE(i->queue->desc[head].inflight, 0);
        STORE(i->queue->desc[head].next, 0);
        STORE(i->queue->desc[head].counter, 0);
    }
    STORE(i->queue->features, 0);
    STORE(i->queue->desc_num, num);
    STORE(i->queue->last_batch_head, 0);
    STORE(i->queue->used_idx, used_idx);
    STORE(i->queue->version, INFLIGHT_VERSION);
}

int inflight_adopt(struct inflight *i, uint16_t num, uint16_t ring_used_idx)
{
    i->num = num;
    i->last_batch_head = 0;
    if (i->queue == NULL)
        return 0;
    uint16_t batch = (uint16_t)(ring_used_idx - LOAD(i->queue->used_idx));
    uint16_t at = LOAD(i->queue->last_batch_head);
    if (LOAD(i->queue->version) != INFLIGHT_VERSION || LOAD(i->queue->desc_num) != num || batch > num || at >= num)
        return -EPROTO;
    i->last_batch_head = at;
    for (uint16_t head = 0; head < num; head++)
        if (LOAD(i->queue->desc[head].inflight) > 1 || LOAD(i->queue->desc[head].next) >= num)
            return -EPROTO;
    uint8_t seen[65536 / 8] = {0};
    for (; batch > 0; batch--) {
        if (at >= num || (seen[at / 8] & (1u << at % 8)))
            return -EPROTO;
        seen[at / 8] |= (uint8_t)(1u << at % 8);
        at = LOAD(i->queue->desc[at].next);
    }
    return 0;
}

uint64_t inflight_max_counter(const struct inflight *i)
{
    uint64_t max = 0;
    for (uint16_t head = 0; i->queue != NULL && head < i->num; head++) {
        uint64_t counter = LOAD(i->queue->desc[head].counter);
        max = counter > max ? counter : max;
    }
    return max;
}

void inflight_fetched(struct inflight *i, uint16_t head, uint64_t counter)
{
    if (i->queue == NULL)
        return;
    STORE(i->queue->desc[head].counter, counter);
    STORE(i->queue->desc[head].inflight, 1);
}

void inflight_batched(struct inflight *i, uint16_t head)
{
    if (i->queue == NULL)
        return;
    STORE(i->queue->desc[head].next, i->last_batch_head);
    i->last_batch_head = head;
    STORE(i->queue->last_batch_head, head);
}

void inflight_cleared(struct inflight *i, uint16_t head)
{
    if (i->queue != NULL)
        STORE(i->queue->desc[head].inflight, 0);
}

void inflight_synced(struct inflight *i, uint16_t used_idx)
{
    if (i->queue != NULL)
        STORE(i->queue->used_idx, used_idx);
}
