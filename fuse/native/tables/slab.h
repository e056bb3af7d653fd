/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of one size in chunks that never move; a slot is a 32-bit number. Not locked: the owner locks.
 *
 * Freed slots are handed out again last in, first out; memory goes back to the allocator only with slab_free.
 */
#ifndef STEADFS_SLAB_H
#define STEADFS_SLAB_H

#include <stdint.h>

#define SLAB_NONE UINT32_MAX
#define SLAB_CHUNK_RECORDS 1024u

struct slab {
    uint8_t **chunks;
    uint32_t *free_slots; /* a stack; as long as the slots ever made, so freeing never allocates */
    uint32_t free_n;
    uint32_t made;        /* slots that exist, free or not */
    uint32_t max;
    uint32_t record_bytes;
};

/* max: most slots; 0 or -ENOMEM. */
int slab_make(struct slab *s, uint32_t record_bytes, uint32_t max);
/* A zeroed record, or SLAB_NONE when full or out of memory. */
uint32_t slab_take(struct slab *s);
void slab_give(struct slab *s, uint32_t slot);
void slab_free(struct slab *s);

static inline void *slab_at(const struct slab *s, uint32_t slot)
{
    return s->chunks[slot / SLAB_CHUNK_RECORDS] + (uint64_t)(slot % SLAB_CHUNK_RECORDS) * s->record_bytes;
}

#endif
