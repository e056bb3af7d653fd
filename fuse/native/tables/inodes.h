/* SPDX-License-Identifier: Apache-2.0
 *
 * The live inode table: nodeid -> what the guest's inode is on the host.
 *
 * Two kinds. An *fd inode* is its O_PATH descriptor: the journal names the number, the table closes it when the
 * inode is deleted. A *handle inode* is its file handle: a descriptor is only a cache, opened on a mount
 * descriptor when needed and closed again when more than fds_max are open, or when the guest's budget needs its place.
 *
 * A handle inode whose last name goes becomes an fd inode (inode_keep).
 *
 * Writers (add, delete, keep, counts, clear) are one thread, the interpreter's; any thread may pin. A pinned inode's
 * descriptor stays open and keeps its number: a delete takes the inode out of the table at once and leaves the
 * close to the last unpin, so no thread can reach another file through a number that was used again. The descriptor
 * of a deleted fd inode moreover waits for inodes_settle: until the deletion is committed, the journal names it.
 *
 * Locks, in this order: cache lock, one shard lock, slab lock.
 */
#ifndef STEADFS_INODES_H
#define STEADFS_INODES_H

#include "fuse/native/tables/budget.h"
#include "fuse/native/tables/index.h"
#include "fuse/native/tables/missing.h"
#include "fuse/native/tables/mounts.h"
#include "fuse/native/tables/slab.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Handles of tmpfs, ext4, xfs and btrfs (without a subvolume change) fit; longer ones are allocated. */
#define HANDLE_INLINE_BYTES 24u
/* One rehash stalls the look-ups of 1/64 of the table only. */
#define INODE_SHARDS 64u

enum inode_kind { INODE_FD = 0, INODE_HANDLE = 1 };

/* cdef begin */
/* A record as the interpreter sees it: what the journal keeps, and the descriptor (-1: none open now). */
struct inode_info {
    uint64_t nodeid;
    uint64_t nlookup;
    uint64_t dev;
    uint64_t ino;
    uint64_t mnt_id;
    uint32_t mode; /* S_IFMT bits only */
    uint32_t kind; /* enum inode_kind */
    int32_t fd;
    int32_t handle_type;
    uint32_t handle_len; /* 0: no handle */
    uint32_t pins;
    uint8_t handle[HANDLE_BYTES_MAX];
};
/* cdef end */

/* What identifies a file on the host. Handles compare only where both have one: an fd inode's descriptor keeps
 * its inode number from being used again, a handle inode's number may have gone to another file. */
struct identity {
    uint64_t dev;
    uint64_t ino;
    uint64_t mnt_id;
    int32_t handle_type;
    uint32_t handle_len;
    const uint8_t *handle;
};

struct inode_shard {
    pthread_mutex_t lock;
    struct index by_node;
} __attribute__((aligned(64)));

struct inodes {
    struct inode_shard shards[INODE_SHARDS];
    struct index by_identity[INODE_SHARDS]; /* the writer's alone */
    pthread_mutex_t slab_lock;
    struct slab slab;
    uint32_t n;
    struct mounts *mounts;
    struct budget *budget;
    pthread_mutex_t cache_lock;
    uint32_t *cache; /* slots of handle inodes with an open descriptor */
    uint32_t cache_n;
    uint32_t cache_max;
    uint32_t cache_hand;
    uint32_t leaving; /* deleted fd inodes whose close waits for inodes_settle, linked by their slots */
    struct missing missing; /* what a new worker has not loaded yet */
    uint64_t cache_opens; /* open_by_handle_at calls that succeeded, for the counters */
};

/* A pin on one inode. fd is valid until inode_unpin; the pin belongs to the thread that took it. */
struct inode_pin {
    int32_t fd;
    uint32_t slot;
    int32_t transient; /* a descriptor that was not put in the cache: closed at unpin; else -1 */
    uint32_t mode;     /* S_IFMT bits */
    uint32_t fs_class; /* enum fs_class */
    uint64_t mnt_id;
};

int inodes_make(struct inodes *t, struct mounts *mounts, struct budget *budget, uint32_t inodes_max, uint32_t fds_max);
/* No thread may pin or hold a pin any more. Closes every descriptor of the table. */
void inodes_free(struct inodes *t);

/* Adds a record. info->fd: an fd inode's own descriptor, or one for a handle inode's cache, or -1; taken over on
 * success. 0, -EEXIST, -EINVAL (no descriptor and no handle), -ENOSPC at inodes_max, -ENOMEM. */
int inode_add(struct inodes *t, const struct inode_info *info);
/* 0 or -ENOENT. The writer calls inodes_settle when the deletion is committed. */
int inode_delete(struct inodes *t, uint64_t nodeid);
/* The new count, or -ENOENT, or -ERANGE when it would pass below 0 or above INT64_MAX (nothing is changed). */
int64_t inode_nlookup_add(struct inodes *t, uint64_t nodeid, int64_t n);
/* nodeid of a known file, or 0; *error is set when it can't be told. */
uint64_t inode_find(struct inodes *t, const struct identity *id, int *error);
/* 0 or -ENOENT. */
int inode_get(struct inodes *t, uint64_t nodeid, struct inode_info *info);
/* enum fs_class of its file system, or -ENOENT. */
int inode_class(struct inodes *t, uint64_t nodeid);
/* Fills up to max records beginning at *cursor (start with 0) and moves it; returns how many, 0 at the end. */
uint32_t inode_list(struct inodes *t, uint32_t *cursor, struct inode_info *infos, uint32_t max);
void inodes_settle(struct inodes *t);
/* Deletes every record but nodeid `keep` (0: all), and settles. */
void inodes_clear(struct inodes *t, uint64_t keep);

/* Pins nodeid and gives a descriptor. 0; -EBADF: no such nodeid; -EAGAIN: only when !may_block and a handle would
 * have to be opened on a file system that may wait, or the record loaded; else the error of open_by_handle_at (ESTALE: file is gone). */
int inode_pin(struct inodes *t, uint64_t nodeid, bool may_block, struct inode_pin *pin);
void inode_unpin(struct inodes *t, struct inode_pin *pin);
/* Nodeids of the handle inodes with these numbers, on whatever mounts; at most max. */
uint32_t inodes_numbered(struct inodes *t, uint64_t dev, uint64_t ino, uint64_t *nodeids, uint32_t max);
/* A handle inode that the writer has pinned becomes an fd inode: nothing else will find it again. Its descriptor, which stays
 * counted; -1: it is none any more. */
int inode_keep(struct inodes *t, struct inode_pin *pin);
/* Closes a cached descriptor that nobody uses; false: there is none. */
bool inode_cache_give(struct inodes *t);

#endif
