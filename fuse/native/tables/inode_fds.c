/* SPDX-License-Identifier: Apache-2.0
 *
 * Pins and the cache of handle inodes' descriptors.
 *
 * The cache is a clock: its hand clears the touched mark of an entry, and takes the first one that is neither
 * touched nor pinned. When all are in use a descriptor is not cached but closed at its unpin. What the host has removed is
 * alive by the cached descriptor alone: it is passed over.
 */
#include "fuse/native/tables/inode_record.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* With the cache lock held: frees cache position `at` whose entry leaves; the last entry moves there. */
static void vacate(struct inodes *t, uint32_t at)
{
    uint32_t last = t->cache[--t->cache_n];
    if (at != t->cache_n) {
        t->cache[at] = last;
        inode_at(t, last)->cache_at = at;
    }
    if (t->cache_hand >= t->cache_n)
        t->cache_hand = 0;
}

/* After so many without a name the search is given up, to be gone on with by the next one. */
#define NAMELESS_MAX 64u

/* Never waits for a server. */
static bool has_name(int fd)
{
    struct statx sx;
    int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC;
    return statx(fd, "", flags, STATX_NLINK, &sx) < 0 || sx.stx_nlink != 0;
}

/* With the cache lock held: closes a cached descriptor that nobody uses, if there is one; it stays counted. */
static bool evict(struct inodes *t)
{
    uint32_t nameless = 0;
    /* Two rounds: the first may do no more than clear marks. */
    for (uint64_t tries = 2 * (uint64_t)t->cache_n; tries != 0 && nameless < NAMELESS_MAX; tries--) {
        uint32_t at = t->cache_hand;
        struct inode *i = inode_at(t, t->cache[at]);
        struct inode_shard *shard = inode_shard(t, i->nodeid);
        int fd = -1;
        pthread_mutex_lock(&shard->lock);
        bool unused = i->pins == 0 && (i->flags & FLAG_TOUCHED) == 0;
        if (unused && !has_name(i->fd)) {
            nameless++;
        } else if (unused) {
            fd = i->fd;
            i->fd = -1;
            i->cache_at = NOT_CACHED;
        }
        i->flags &= (uint8_t)~FLAG_TOUCHED;
        pthread_mutex_unlock(&shard->lock);
        t->cache_hand = at + 1 < t->cache_n ? at + 1 : 0;
        if (fd >= 0) {
            vacate(t, at);
            close(fd);
            return true;
        }
    }
    return false;
}

/* With the cache lock held: true when there are a position and a place in the budget, which is taken. */
static bool make_room(struct inodes *t)
{
    return (t->cache_n < t->cache_max && budget_take(t->budget)) || evict(t);
}

bool inode_cache_give(struct inodes *t)
{
    pthread_mutex_lock(&t->cache_lock);
    bool given = evict(t);
    pthread_mutex_unlock(&t->cache_lock);
    if (given)
        budget_give(t->budget);
    return given;
}

int inode_cache_put(struct inodes *t, uint32_t slot, int fd)
{
    struct inode *i = inode_at(t, slot);
    struct inode_shard *shard = inode_shard(t, i->nodeid);
    int rc = -EBUSY;
    pthread_mutex_lock(&t->cache_lock);
    if (make_room(t)) {
        pthread_mutex_lock(&shard->lock);
        if ((i->flags & FLAG_LIVE) != 0 && i->fd < 0) {
            i->fd = fd;
            i->flags |= FLAG_TOUCHED;
            i->cache_at = t->cache_n;
            t->cache[t->cache_n++] = slot;
            rc = 0;
        }
        pthread_mutex_unlock(&shard->lock);
        if (rc < 0)
            budget_give(t->budget);
    }
    pthread_mutex_unlock(&t->cache_lock);
    return rc;
}

/* The descriptor stays with the dead record until its last unpin. */
void inode_cache_drop(struct inodes *t, uint32_t slot)
{
    struct inode *i = inode_at(t, slot);
    pthread_mutex_lock(&t->cache_lock);
    if (i->cache_at != NOT_CACHED) {
        vacate(t, i->cache_at);
        i->cache_at = NOT_CACHED;
    }
    pthread_mutex_unlock(&t->cache_lock);
}

int inode_pin(struct inodes *t, uint64_t nodeid, bool may_block, struct inode_pin *pin)
{
    int rc = missing_need(t, nodeid, may_block);
    if (rc < 0)
        return rc;
    struct inode_shard *shard = inode_shard(t, nodeid);
    pthread_mutex_lock(&shard->lock);
    uint32_t slot = inode_lookup(t, shard, nodeid);
    if (slot == INDEX_NONE) {
        pthread_mutex_unlock(&shard->lock);
        return -EBADF;
    }
    struct inode *i = inode_at(t, slot);
    i->pins++;
    i->flags |= FLAG_TOUCHED;
    *pin = (struct inode_pin){
        .fd = i->fd, .slot = slot, .transient = -1, .mode = i->mode, .fs_class = class_in(i->flags),
        .mnt_id = i->mnt_id};
    pthread_mutex_unlock(&shard->lock);
    if (pin->fd >= 0)
        return 0;
    /* A record's identity is constant while it is pinned: no lock needed. */
    int fd = -EAGAIN;
    if (may_block || pin->fs_class == FS_MEMORY)
        fd = mounts_open_handle(t->mounts, i->mnt_id, i->handle_type, inode_handle(i), i->handle_len);
    if (fd < 0) {
        inode_unpin(t, pin);
        return fd;
    }
    /* Another thread may have been faster, or the inode may be gone by now: then this one is ours alone. */
    pin->fd = fd;
    if (inode_cache_put(t, slot, fd) < 0) {
        pin->transient = fd;
        budget_count(t->budget, 1);
    }
    __atomic_add_fetch(&t->cache_opens, 1, __ATOMIC_RELAXED);
    return 0;
}

void inode_unpin(struct inodes *t, struct inode_pin *pin)
{
    if (pin->transient >= 0) {
        close(pin->transient);
        budget_give(t->budget);
    }
    struct inode *i = inode_at(t, pin->slot);
    struct inode_shard *shard = inode_shard(t, i->nodeid);
    pthread_mutex_lock(&shard->lock);
    bool last = --i->pins == 0 && (i->flags & FLAG_DEAD) != 0;
    pthread_mutex_unlock(&shard->lock);
    if (last)
        inode_bury(t, pin->slot);
}

int inode_keep(struct inodes *t, struct inode_pin *pin)
{
    struct inode *i = inode_at(t, pin->slot);
    struct inode_shard *shard = inode_shard(t, i->nodeid);
    int fd = -1;
    pthread_mutex_lock(&t->cache_lock);
    pthread_mutex_lock(&shard->lock);
    if ((i->flags & FLAG_LIVE) != 0 && (i->flags & FLAG_HANDLE) != 0) {
        if (i->fd < 0) {
            i->fd = pin->transient;
            pin->transient = -1;
        } else {
            vacate(t, i->cache_at);
            i->cache_at = NOT_CACHED;
        }
        i->flags &= (uint8_t)~FLAG_HANDLE;
        fd = i->fd;
    }
    pthread_mutex_unlock(&shard->lock);
    pthread_mutex_unlock(&t->cache_lock);
    return fd;
}
