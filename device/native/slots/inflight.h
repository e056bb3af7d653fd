/* SPDX-License-Identifier: Apache-2.0
 * The standard in-flight region of a split vring (vhost-user.rst, "Inflight I/O tracking"), one function per step.
 *
 * The VMM may hold the region, so nothing read from it is believed; here it is only written, but for
 * last_batch_head, which we keep in private memory as well. Stores are in the order the text gives, and each is a
 * release: whoever reads the region after our death sees a prefix of them.
 */
#ifndef STEADFS_INFLIGHT_H
#define STEADFS_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INFLIGHT_VERSION 1u
#define INFLIGHT_ALIGN_BYTES 64u /* each queue's part starts on a cache line */

struct inflight_desc {
    uint8_t inflight;
    uint8_t padding[5];
    uint16_t next; /* the head published before this one in the last batch */
    uint64_t counter;
};
_Static_assert(sizeof(struct inflight_desc) == 16, "DescStateSplit");

struct inflight_queue {
    uint64_t features;
    uint16_t version;
    uint16_t desc_num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct inflight_desc desc[];
};
_Static_assert(sizeof(struct inflight_queue) == 16, "QueueRegionSplit");

/* Our view of one queue's part; queue == NULL: not tracked. */
struct inflight {
    struct inflight_queue *queue;
    uint16_t num;
    uint16_t last_batch_head; /* private copy */
};

/* cdef begin */
uint64_t inflight_queue_bytes(uint16_t num);
/* cdef end */

/* Starts afresh: nothing in flight, used_idx as the ring has it. */
void inflight_start(struct inflight *i, uint16_t num, uint16_t used_idx);
/* Takes a region as it is found. -EPROTO unless version, size, links and flags are in range and the list of the last
 * batch (ring_used_idx - used_idx long) has no loop. Repairs nothing. */
int inflight_adopt(struct inflight *i, uint16_t num, uint16_t ring_used_idx);
uint64_t inflight_max_counter(const struct inflight *i);

/* At a pop: the counter, then the flag. */
void inflight_fetched(struct inflight *i, uint16_t head, uint64_t counter);
/* Before the used index moves: links head into the batch. */
void inflight_batched(struct inflight *i, uint16_t head);
/* After the used index moved: head is no longer in flight. */
void inflight_cleared(struct inflight *i, uint16_t head);
/* When all of the batch are cleared. */
void inflight_synced(struct inflight *i, uint16_t used_idx);

#endif
