/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/tables/slab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int slab_make(struct slab *s, uint32_t record_bytes, uint32_t max)
{
    *s = (struct slab){.max = max, .record_bytes = record_bytes};
    uint32_t chunks_max = (max + SLAB_CHUNK_RECORDS - 1) / SLAB_CHUNK_RECORDS;
    /* Pointers for all chunks at once (128 KiB for 16 Mi records), so that readers need no lock to find a chunk. */
    s->chunks = calloc(chunks_max, sizeof *s->chunks);
    return s->chunks == NULL ? -ENOMEM : 0;
}

static int add_chunk(struct slab *s)
{
    uint32_t more = s->max - s->made < SLAB_CHUNK_RECORDS ? s->max - s->made : SLAB_CHUNK_RECORDS;
    if (more == 0)
        return -ENOSPC;
    uint32_t *stack = realloc(s->free_slots, ((size_t)s->made + more) * sizeof *stack);
    if (stack == NULL)
        return -ENOMEM;
    s->free_slots = stack;
    uint8_t *chunk = calloc(SLAB_CHUNK_RECORDS, s->record_bytes);
    if (chunk == NULL)
        return -ENOMEM;
    s->chunks[s->made / SLAB_CHUNK_RECORDS] = chunk;
    for (uint32_t i = more; i != 0; i--)
        s->free_slots[s->free_n++] = s->made + i - 1;
    s->made += more;
    return 0;
}

uint32_t slab_take(struct slab *s)
{
    if (s->free_n == 0 && add_chunk(s) < 0)
        return SLAB_NONE;
    uint32_t slot = s->free_slots[--s->free_n];
    memset(slab_at(s, slot), 0, s->record_bytes);
    return slot;
}

void slab_give(struct slab *s, uint32_t slot)
{
    s->free_slots[s->free_n++] = slot;
}

void slab_free(struct slab *s)
{
    for (uint32_t i = 0; i < s->made; i += SLAB_CHUNK_RECORDS)
        free(s->chunks[i / SLAB_CHUNK_RECORDS]);
    free(s->chunks);
    free(s->free_slots);
    *s = (struct slab){0};
}
