/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/tables/index.h"

#include <errno.h>
#include <stdlib.h>

#define CELLS_FIRST 16u
/* slot + 1 must fit in 32 bits and the load stays below 3/4, so an index never has more cells than this. */
#define CELLS_MAX (1u << 31)

static void place(uint64_t *cells, uint32_t mask, uint64_t cell)
{
    uint32_t at = (uint32_t)(cell >> 32) & mask;
    while (cells[at] != 0)
        at = (at + 1) & mask;
    cells[at] = cell;
}

static int grow(struct index *ix)
{
    uint32_t n = ix->cells == NULL ? CELLS_FIRST : ix->mask + 1;
    if (ix->cells != NULL) {
        if (n >= CELLS_MAX)
            return -ENOMEM;
        n *= 2;
    }
    uint64_t *cells = calloc(n, sizeof *cells);
    if (cells == NULL)
        return -ENOMEM;
    if (ix->cells != NULL)
        for (uint32_t i = 0; i <= ix->mask; i++)
            if (ix->cells[i] != 0)
                place(cells, n - 1, ix->cells[i]);
    free(ix->cells);
    ix->cells = cells;
    ix->mask = n - 1;
    return 0;
}

int index_insert(struct index *ix, uint32_t hash, uint32_t slot)
{
    /* At most three quarters full: a probe always meets an empty cell. */
    if (ix->cells == NULL || (uint64_t)(ix->used + 1) * 4 > ((uint64_t)ix->mask + 1) * 3) {
        int rc = grow(ix);
        if (rc < 0)
            return rc;
    }
    place(ix->cells, ix->mask, (uint64_t)hash << 32 | (uint64_t)(slot + 1));
    ix->used++;
    return 0;
}

void index_remove(struct index *ix, uint32_t hash, uint32_t slot)
{
    if (ix->cells == NULL)
        return;
    uint64_t wanted = (uint64_t)hash << 32 | (uint64_t)(slot + 1);
    uint32_t hole = hash & ix->mask;
    while (ix->cells[hole] != wanted) {
        if (ix->cells[hole] == 0)
            return;
        hole = (hole + 1) & ix->mask;
    }
    /* Close the hole by moving back every later cell of the run whose home does not lie behind the hole: no
     * tombstones, so look-ups stay short however often entries come and go. */
    for (uint32_t at = (hole + 1) & ix->mask; ix->cells[at] != 0; at = (at + 1) & ix->mask) {
        uint32_t home = (uint32_t)(ix->cells[at] >> 32) & ix->mask;
        if (((at - home) & ix->mask) >= ((at - hole) & ix->mask)) {
            ix->cells[hole] = ix->cells[at];
            hole = at;
        }
    }
    ix->cells[hole] = 0;
    ix->used--;
}

void index_free(struct index *ix)
{
    free(ix->cells);
    *ix = (struct index){0};
}
