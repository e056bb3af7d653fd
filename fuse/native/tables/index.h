/* SPDX-License-Identifier: Apache-2.0
 *
 * An open-addressing index from a 32-bit hash to slots of a slab; several slots may share a hash.
 *
 * A cell is the hash and the slot number plus one in 8 bytes, so growing never touches the records. The caller
 * compares records, and holds whatever lock guards the index.
 */
#ifndef STEADFS_INDEX_H
#define STEADFS_INDEX_H

#include <stdint.h>

#define INDEX_NONE UINT32_MAX

struct index {
    uint64_t *cells; /* hash << 32 | slot + 1; 0 = empty */
    uint32_t mask;   /* cells - 1; 0 with cells == NULL when nothing was ever inserted */
    uint32_t used;
};

struct index_walk {
    uint32_t at;
};

/* Mixes all bits of x into 32 (the finaliser of splitmix64). */
static inline uint32_t index_hash(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return (uint32_t)(x >> 32);
}

/* 0 or -ENOMEM; then nothing has changed. */
int index_insert(struct index *ix, uint32_t hash, uint32_t slot);
void index_remove(struct index *ix, uint32_t hash, uint32_t slot);
void index_free(struct index *ix);

/* The next slot with that hash, or INDEX_NONE; start with *walk = index_start(ix, hash). */
static inline struct index_walk index_start(const struct index *ix, uint32_t hash)
{
    return (struct index_walk){.at = hash & ix->mask};
}

static inline uint32_t index_next(const struct index *ix, uint32_t hash, struct index_walk *walk)
{
    if (ix->cells == 0)
        return INDEX_NONE;
    for (;;) {
        uint64_t cell = ix->cells[walk->at];
        if (cell == 0)
            return INDEX_NONE;
        walk->at = (walk->at + 1) & ix->mask;
        if ((uint32_t)(cell >> 32) == hash)
            return (uint32_t)cell - 1;
    }
}

#endif
