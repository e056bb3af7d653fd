/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/tables/inode_record.h"

#include <stdlib.h>
#include <unistd.h>

uint32_t inode_lookup(struct inodes *t, const struct inode_shard *shard, uint64_t nodeid)
{
    uint32_t hash = index_hash(nodeid);
    struct index_walk walk = index_start(&shard->by_node, hash);
    uint32_t slot;
    while ((slot = index_next(&shard->by_node, hash, &walk)) != INDEX_NONE)
        if (inode_at(t, slot)->nodeid == nodeid)
            return slot;
    return INDEX_NONE;
}

void inode_give_slot(struct inodes *t, uint32_t slot)
{
    struct inode *i = inode_at(t, slot);
    if (i->handle_len > HANDLE_INLINE_BYTES)
        free(i->handle.far);
    pthread_mutex_lock(&t->slab_lock);
    slab_give(&t->slab, slot);
    pthread_mutex_unlock(&t->slab_lock);
}

void inode_bury(struct inodes *t, uint32_t slot)
{
    struct inode *i = inode_at(t, slot);
    if (i->fd >= 0) {
        close(i->fd);
        budget_give(t->budget);
    }
    inode_give_slot(t, slot);
}
