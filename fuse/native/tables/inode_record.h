/* SPDX-License-Identifier: Apache-2.0
 *
 * The record behind inodes.h: 80 bytes, plus about 28 in the two indexes and 4 in the slab's stack.
 */
#ifndef STEADFS_INODE_RECORD_H
#define STEADFS_INODE_RECORD_H

#include "fuse/native/tables/inodes.h"

#define NOT_CACHED UINT32_MAX

enum inode_flag {
    FLAG_LIVE = 1,    /* in the indexes */
    FLAG_DEAD = 2,    /* deleted, waits for its last unpin */
    FLAG_HANDLE = 4,  /* a handle inode */
    FLAG_TOUCHED = 8, /* used since the cache's hand passed */
    FLAG_CLASS = 16,  /* times enum fs_class, 2 bits */
    FLAG_JOINED = 64, /* counted by its mount */
};

static inline uint32_t class_in(uint8_t flags)
{
    return flags / FLAG_CLASS & 3;
}

struct inode {
    uint64_t nodeid;
    uint64_t nlookup; /* of a deleted inode: the next slot in inodes.leaving */
    uint64_t dev;
    uint64_t ino;
    uint32_t mnt_id;
    int32_t fd;
    uint32_t pins;
    uint32_t cache_at; /* position in inodes.cache, or NOT_CACHED; guarded by the cache lock */
    int32_t handle_type;
    uint16_t mode;
    uint8_t flags;
    uint8_t handle_len;
    union {
        uint8_t own[HANDLE_INLINE_BYTES];
        uint8_t *far; /* handle_len > HANDLE_INLINE_BYTES; the record's, freed with it */
    } handle;
};
_Static_assert(sizeof(struct inode) == 80, "memory per inode is a promise");

static inline struct inode *inode_at(struct inodes *t, uint32_t slot)
{
    return slab_at(&t->slab, slot);
}

static inline const uint8_t *inode_handle(const struct inode *i)
{
    return i->handle_len > HANDLE_INLINE_BYTES ? i->handle.far : i->handle.own;
}

static inline struct inode_shard *inode_shard(struct inodes *t, uint64_t nodeid)
{
    /* The index uses the low bits of the hash, the shard the high ones. */
    return &t->shards[index_hash(nodeid) / (UINT32_MAX / INODE_SHARDS + 1)];
}

/* The slot of nodeid, or INDEX_NONE; with the shard's lock held. */
uint32_t inode_lookup(struct inodes *t, const struct inode_shard *shard, uint64_t nodeid);
/* Frees a record that is in no index. */
void inode_give_slot(struct inodes *t, uint32_t slot);
/* Frees a dead record that no one pins; closes its descriptor. Without locks. */
void inode_bury(struct inodes *t, uint32_t slot);
/* Cache: puts an opened descriptor in, or takes a record out; see inode_fds.c. */
int inode_cache_put(struct inodes *t, uint32_t slot, int fd);
void inode_cache_drop(struct inodes *t, uint32_t slot);

#endif
