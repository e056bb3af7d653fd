/* SPDX-License-Identifier: Apache-2.0
 *
 * The live handle table: fh -> an open file or directory.
 *
 * The table owns the descriptors. Writers (add, delete, clear) are the interpreter's thread; any thread may
 * pin. As with inodes, a delete takes the handle out at once and leaves the close to the last unpin: a guest may
 * send RELEASE on one queue while a READ of the same fh runs on another.
 */
#ifndef STEADFS_HANDLES_H
#define STEADFS_HANDLES_H

#include "fuse/native/tables/budget.h"
#include "fuse/native/tables/index.h"
#include "fuse/native/tables/slab.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Handles are few beside inodes; one shard per core that may serve a queue is enough. */
#define HANDLE_SHARDS 16u

enum handle_kind { HANDLE_FILE = 0, HANDLE_DIR = 1 };

enum handle_flag {
    HANDLE_DEAD = 1,      /* deleted, waits for its last unpin */
    HANDLE_NO_NOWAIT = 2, /* a NOWAIT write was refused as not supported: don't try again */
    HANDLE_NO_NOWAIT_READ = 4
};

struct handle {
    uint64_t fh;
    uint64_t nodeid;
    int32_t fd;
    uint32_t open_flags; /* of the guest's OPEN, for the journal */
    uint32_t next_leaving;
    uint8_t kind;        /* enum handle_kind */
    _Atomic uint8_t fs_class; /* enum fs_class; see handle_class */
    _Atomic uint8_t flags;
    uint32_t pins;       /* guarded by the shard's lock */
    uint32_t slot;       /* its own number in the slab */
    _Atomic uint64_t reads;
    _Atomic uint64_t writes;
    _Atomic uint64_t bytes_read;
    _Atomic uint64_t bytes_written;
    pthread_mutex_t dir_lock; /* a directory's position and its getdents64 belong together */
    int64_t dir_at;           /* the descriptor's position; -1: not known */
};

/* cdef begin */
/* A record as the interpreter sees it. */
struct handle_info {
    uint64_t fh;
    uint64_t nodeid;
    int32_t fd;
    uint32_t open_flags;
    uint32_t kind;
    uint32_t pins;
    uint64_t reads;
    uint64_t writes;
    uint64_t bytes_read;
    uint64_t bytes_written;
};
/* cdef end */

struct handle_shard {
    pthread_mutex_t lock;
    struct index by_fh;
} __attribute__((aligned(64)));

struct handles {
    struct handle_shard shards[HANDLE_SHARDS];
    pthread_mutex_t slab_lock;
    struct slab slab;
    struct budget *budget;
    uint32_t n;
    uint32_t leaving; /* deleted handles whose close waits for handles_settle, linked by their slots */
};

int handles_make(struct handles *t, struct budget *budget, uint32_t handles_max);
/* No thread may pin or hold a pin any more. Closes every descriptor of the table. */
void handles_free(struct handles *t);

/* Adds a handle (traffic counts of info are its start values) and takes info->fd over on success. fs_class: of its
 * inode, FS_UNKNOWN to be asked later, or < 0 to be asked now. 0, -EEXIST, -EINVAL, -ENOSPC at handles_max, -ENOMEM, or fstatfs' error. */
int handle_add(struct handles *t, const struct handle_info *info, int fs_class);
/* Fills *last with the record as it was. 0 or -ENOENT. The descriptor is closed when the deletion is committed
 * (handles_settle) and no one pins it any more. */
int handle_delete(struct handles *t, uint64_t fh, struct handle_info *last);
int handle_get(struct handles *t, uint64_t fh, struct handle_info *info);
uint32_t handle_list(struct handles *t, uint32_t *cursor, struct handle_info *infos, uint32_t max);
void handles_settle(struct handles *t);
/* Deletes all, and settles. */
void handles_clear(struct handles *t);

/* The pinned handle, or NULL: unknown fh, or of another inode (nodeid 0: any), or of another kind. */
struct handle *handle_pin(struct handles *t, uint64_t fh, uint64_t nodeid, enum handle_kind kind);
/* As handle_pin, of either kind. */
struct handle *handle_pin_any(struct handles *t, uint64_t fh, uint64_t nodeid);
void handle_unpin(struct handles *t, struct handle *h);
/* A pinned handle's enum fs_class, FS_REMOTE while it isn't known. `may_block`: then it is found out. */
uint32_t handle_class(struct handle *h, bool may_block);

#endif
