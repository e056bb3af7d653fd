/* SPDX-License-Identifier: Apache-2.0
 * Descriptor chains of a split virtqueue (VIRTIO 1.2, 2.7.5) made into iovecs of our own addresses.
 */
#ifndef STEADFS_CHAIN_H
#define STEADFS_CHAIN_H

#include "device/native/rings/memory.h"

#include <sys/uio.h>

struct vring_desc {
    uint64_t addr; /* gpa */
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
_Static_assert(sizeof(struct vring_desc) == 16, "VIRTIO 1.2, 2.7.5: virtq_desc");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "VIRTIO_F_VERSION_1 rings are little endian, so are we");

#define VRING_DESC_F_NEXT 1u
#define VRING_DESC_F_WRITE 2u
#define VRING_DESC_F_INDIRECT 4u

enum chain_fault {
    CHAIN_OK = 0,
    CHAIN_RANGE,    /* a buffer that isn't wholly guest memory */
    CHAIN_LOOP,     /* more descriptors than the table has, or a next outside of it */
    CHAIN_ORDER,    /* a readable descriptor behind a writable one */
    CHAIN_ZERO,     /* an empty descriptor */
    CHAIN_INDIRECT, /* not negotiated, nested, with NEXT, or a table of a wrong size or place */
    CHAIN_LONG,     /* more pieces than LANE_IOV_MAX, or 4 GiB readable */
    CHAIN_SHORT     /* no room for a request's header (set by whoever reads it) */
};

struct chain_table {
    const uint8_t *desc; /* guest memory, struct vring_desc each; an indirect table need not be aligned */
    uint16_t num;
    bool indirect; /* VIRTIO_RING_F_INDIRECT_DESC was negotiated */
    const struct memory *memory;
};

struct chain {
    struct iovec *iov; /* the caller's, LANE_IOV_MAX long; readable ones first, then writable ones */
    uint32_t src_n;
    uint32_t dst_n;
    uint64_t src_bytes;
    uint64_t dst_bytes;
};

/* Reads each descriptor once into private memory. head < num is the caller's promise. Whatever the guest writes, it ends
 * after at most num + LANE_IOV_MAX descriptors and yields only addresses inside of guest memory. */
enum chain_fault chain_walk(const struct chain_table *table, uint16_t head, struct chain *chain);

#endif
