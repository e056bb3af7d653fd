/* SPDX-License-Identifier: Apache-2.0
 *
 * Mounts of the share: mount id -> a descriptor on that mount for open_by_handle_at.
 *
 * Holding the descriptor keeps the mount busy, so its id can't be given to another mount while it stands here; and so the host's
 * administrator can't unmount it. When the last inode on a mount is gone it leaves the table, and its descriptor is closed when
 * that is committed. An open file needs no mount's descriptor beside its own.
 * The table owns the descriptors. A handle is opened under the lock: were the descriptor closed and its number used
 * again meanwhile, the handle would be looked for in a file system outside the share.
 */
#ifndef STEADFS_MOUNTS_H
#define STEADFS_MOUNTS_H

#include "fuse/native/tables/budget.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Mounts below one share: each costs the host's administrator a mount, and look-ups here are linear. */
#define MOUNTS_MAX 1024u
/* cdef begin */
/* MAX_HANDLE_SZ of fcntl.h: the kernel refuses longer handles. */
#define HANDLE_BYTES_MAX 128u
/* cdef end */

/* How operations on a file system may stall the thread that does them. */
enum fs_class {
    FS_MEMORY = 0, /* tmpfs, ramfs: never waits for a device */
    FS_LOCAL = 1,  /* a disk: reads and syncs wait, close and stat do not */
    FS_REMOTE = 2, /* NFS, SMB, FUSE and all that is not known to be local: anything may wait */
    FS_UNKNOWN = 3 /* a handle's that a new worker has loaded, until a thread that may wait has asked */
};

struct mount {
    uint64_t mnt_id;
    int32_t fd;
    uint32_t fs_class;
    uint32_t inodes; /* of the table of inodes, that joined */
};

struct mounts {
    pthread_rwlock_t lock;
    struct budget *budget;
    uint32_t n;
    uint32_t empty; /* mounts without inodes; the writer's, as what follows */
    uint32_t leaving_n;
    int32_t leaving[MOUNTS_MAX]; /* descriptors whose close waits for mounts_settle */
    struct mount all[MOUNTS_MAX];
};

void mounts_make(struct mounts *m, struct budget *budget);
void mounts_free(struct mounts *m);
/* Takes fd over on success. 0, -EEXIST, -ENOSPC, or the error of fstatfs. */
int mounts_add(struct mounts *m, uint64_t mnt_id, int fd);
/* Takes one out that nothing uses yet, and closes it. */
void mounts_remove(struct mounts *m, uint64_t mnt_id);
/* An inode more, or less, on a mount; false: the mount isn't in the table. */
bool mounts_join(struct mounts *m, uint64_t mnt_id);
void mounts_part(struct mounts *m, uint64_t mnt_id);
/* Takes a mount without inodes out; its id, or 0: there is none. */
uint64_t mounts_leave(struct mounts *m);
/* That is committed. */
void mounts_settle(struct mounts *m);
/* The table's descriptor, or -ENOENT. */
int mounts_fd(struct mounts *m, uint64_t mnt_id);
/* enum fs_class, or -ENOENT. */
int mounts_class(struct mounts *m, uint64_t mnt_id);
/* Closes all but keep_mnt_id (0: all). */
void mounts_clear(struct mounts *m, uint64_t keep_mnt_id);
/* Opens a file handle O_PATH. -ESTALE: mount or file unknown (the latter by the kernel), or another error. */
int mounts_open_handle(struct mounts *m, uint64_t mnt_id, int handle_type, const uint8_t *handle, uint32_t len);

/* enum fs_class of the file behind fd (O_PATH suffices), or -errno. */
int fs_class_of(int fd);

#endif
