/* SPDX-License-Identifier: Apache-2.0
 * A well-behaved driver of one split vring on shared memory, for the harnesses. One chain is three descriptors at most:
 * head (readable), payload (readable), reply (writable); descriptor triples are handed out from a free list.
 */
#ifndef STEADFS_TESTS_GUEST_H
#define STEADFS_TESTS_GUEST_H

#include "device/native/engine/engine.h"

#define GUEST_REPLY_BYTES 512u
#define GUEST_REQUEST_BYTES 128u

struct guest {
    uint8_t *base; /* where the vring's part of the memory begins, for us */
    uint64_t gpa;
    uint16_t num;
    bool event_idx;
    struct vring_desc *desc;
    uint16_t *avail;
    uint8_t *used;
    uint16_t avail_idx;
    uint16_t seen; /* used index consumed so far */
    uint16_t kicked; /* avail index at the last decision to kick */
    uint16_t free_n;
    uint16_t free[VRING_NUM_MAX];
    uint64_t uniques[VRING_NUM_MAX]; /* by head; 0: not in flight */
    int kick;
    int call;
};

uint64_t guest_bytes(uint16_t num);
/* base..base+guest_bytes(num) is guest memory at gpa, zeroed. */
void guest_init(struct guest *g, uint8_t *base, uint64_t gpa, uint16_t num, bool event_idx);
struct vring_spec guest_spec(const struct guest *g);
/* Offers a request; false when the ring is full. */
bool guest_offer(struct guest *g, uint32_t opcode, uint64_t unique, uint32_t head_bytes);
/* Kicks when the device asked for it. */
void guest_kick(struct guest *g);
/* The next used element: its unique, with the reply's header in *out and its length in *len. 0: none. */
uint64_t guest_take(struct guest *g, struct lane_out_header *out, uint32_t *len);
/* Asks for a signal, looks once more, and sleeps until it comes. False: timeout_ms passed. */
bool guest_sleep(struct guest *g, int timeout_ms);

#endif
