/* SPDX-License-Identifier: Apache-2.0
 * The ring side of a request: what a lane_request needs beside itself. One for each descriptor head of a vring,
 * allocated with the vring; small requests need no further memory.
 */
#ifndef STEADFS_REQUEST_H
#define STEADFS_REQUEST_H

#include "device/native/rings/chain.h"
#include "specs/native/lane.h"
#include "device/native/slots/slots.h"

/* Two names of 255 bytes don't fit; any operation with one name does, and so does WRITE's head. */
#define REQUEST_INLINE_IN_BYTES 360u
/* 128 KiB in single pages, header, and a spare: the sizes that come often. */
#define REQUEST_INLINE_IOV 36u

/* Who owns it. Only FREE -> POPPED (under the pop lock) and -> FREE (publisher) are races that matter. */
enum request_owner {
    REQUEST_FREE = 0,
    REQUEST_POPPED, /* whoever has the pop lock */
    REQUEST_POOL,
    REQUEST_INBOX,
    REQUEST_TAKEN,     /* interpreter */
    REQUEST_PUBLISHING /* interpreter, within engine_publish */
};

struct vring;

struct request {
    struct lane_request lane; /* first: the two pointers are one */
    struct vring *vring;
    struct request *next; /* in the pool's queue */
    struct slot *slot;    /* NULL: not tracked */
    uint8_t *big_in;      /* malloced, NULL when inline_in is enough */
    uint32_t big_in_bytes;
    struct iovec *big_iov;
    uint8_t owner; /* atomic */
    uint8_t inline_in[REQUEST_INLINE_IN_BYTES];
    struct iovec inline_iov[REQUEST_INLINE_IOV];
};

static inline enum request_owner request_owner_of(const struct request *r)
{
    return (enum request_owner)__atomic_load_n(&r->owner, __ATOMIC_ACQUIRE);
}

static inline void request_give(struct request *r, enum request_owner owner)
{
    __atomic_store_n(&r->owner, (uint8_t)owner, __ATOMIC_RELEASE);
}

/* Copies the header out of the chain, the only time it is read. CHAIN_SHORT when there is no room for one. */
enum chain_fault request_begin(struct request *r, const struct chain *chain);
/* Copies up to head_bytes into `in` and moves the iovecs over. Positive errno: E2BIG for a head above
 * LANE_IN_BYTES_MAX, ENOMEM; `dst` is set in any case where memory allows, so that an error reply can be written. */
int request_fill(struct request *r, const struct chain *chain, uint32_t head_bytes);
/* Frees what it has beyond its inline parts. */
void request_recycle(struct request *r);

#endif
