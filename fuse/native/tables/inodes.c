/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/tables/inodes.h"
#include "fuse/native/tables/inode_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A slot number plus one must fit in 32 bits; the real bound is inodes_max. */
#define INODES_LIMIT (1u << 30)

int inodes_make(struct inodes *t, struct mounts *mounts, struct budget *budget, uint32_t inodes_max, uint32_t fds_max)
{
    memset(t, 0, sizeof *t);
    if (inodes_max == 0 || inodes_max > INODES_LIMIT || fds_max == 0)
        return -EINVAL;
    t->mounts = mounts;
    t->budget = budget;
    t->cache_max = fds_max;
    t->leaving = INDEX_NONE;
    t->cache = calloc(fds_max, sizeof *t->cache);
    if (t->cache == NULL || slab_make(&t->slab, sizeof(struct inode), inodes_max) < 0) {
        free(t->cache);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < INODE_SHARDS; i++)
        pthread_mutex_init(&t->shards[i].lock, NULL);
    pthread_mutex_init(&t->slab_lock, NULL);
    pthread_mutex_init(&t->cache_lock, NULL);
    missing_make(&t->missing);
    return 0;
}

void inodes_free(struct inodes *t)
{
    inodes_clear(t, 0);
    for (uint32_t i = 0; i < INODE_SHARDS; i++) {
        index_free(&t->shards[i].by_node);
        index_free(&t->by_identity[i]);
        pthread_mutex_destroy(&t->shards[i].lock);
    }
    pthread_mutex_destroy(&t->slab_lock);
    pthread_mutex_destroy(&t->cache_lock);
    missing_free(&t->missing);
    slab_free(&t->slab);
    free(t->cache);
}

static uint32_t identity_hash(uint64_t dev, uint64_t ino, uint64_t mnt_id)
{
    return index_hash(ino ^ dev * 0x9e3779b97f4a7c15u ^ mnt_id << 40);
}

static struct index *identity_index(struct inodes *t, uint32_t hash)
{
    return &t->by_identity[hash / (UINT32_MAX / INODE_SHARDS + 1)];
}

/* Other threads change other flags of it. */
static bool is_found_by_handle(struct inodes *t, const struct inode *i)
{
    struct inode_shard *shard = inode_shard(t, i->nodeid);
    pthread_mutex_lock(&shard->lock);
    bool found = (i->flags & FLAG_HANDLE) != 0;
    pthread_mutex_unlock(&shard->lock);
    return found;
}

static bool same_file(struct inodes *t, const struct inode *i, const struct identity *id)
{
    if (i->ino != id->ino || i->dev != id->dev || i->mnt_id != id->mnt_id)
        return false;
    if (!is_found_by_handle(t, i))
        return true;
    return i->handle_len == id->handle_len && i->handle_type == id->handle_type &&
           memcmp(inode_handle(i), id->handle, id->handle_len) == 0;
}

static uint64_t find_here(struct inodes *t, const struct identity *id)
{
    uint32_t hash = identity_hash(id->dev, id->ino, id->mnt_id);
    const struct index *ix = identity_index(t, hash);
    struct index_walk walk = index_start(ix, hash);
    uint32_t slot;
    while ((slot = index_next(ix, hash, &walk)) != INDEX_NONE)
        if (same_file(t, inode_at(t, slot), id))
            return inode_at(t, slot)->nodeid;
    return 0;
}

uint64_t inode_find(struct inodes *t, const struct identity *id, int *error)
{
    *error = 0;
    uint64_t nodeid = find_here(t, id);
    if (nodeid == 0 && t->missing.on && (*error = missing_need_ino(&t->missing, id->ino)) == 0)
        nodeid = find_here(t, id);
    return nodeid;
}

uint32_t inodes_numbered(struct inodes *t, uint64_t dev, uint64_t ino, uint64_t *nodeids, uint32_t max)
{
    uint32_t n = 0;
    /* The writer alone changes the table of mounts. Handle inodes lie on those in it. */
    for (uint32_t mount = 0; mount < t->mounts->n; mount++) {
        uint64_t mnt_id = t->mounts->all[mount].mnt_id;
        uint32_t hash = identity_hash(dev, ino, mnt_id);
        const struct index *ix = identity_index(t, hash);
        struct index_walk walk = index_start(ix, hash);
        uint32_t slot;
        while (n < max && (slot = index_next(ix, hash, &walk)) != INDEX_NONE) {
            const struct inode *i = inode_at(t, slot);
            if (i->ino == ino && i->dev == dev && i->mnt_id == mnt_id && is_found_by_handle(t, i))
                nodeids[n++] = i->nodeid;
        }
    }
    return n;
}

/* Of the mount, or where that is not in the table (an fd inode's may not be) of the descriptor. */
static uint32_t class_of(struct inodes *t, const struct inode_info *info)
{
    int fs_class = mounts_class(t->mounts, info->mnt_id);
    if (fs_class < 0 && info->fd >= 0)
        fs_class = fs_class_of(info->fd);
    return fs_class < 0 ? FS_REMOTE : (uint32_t)fs_class;
}

static int fill(struct inode *i, const struct inode_info *info, uint32_t fs_class)
{
    i->nodeid = info->nodeid;
    i->nlookup = info->nlookup;
    i->dev = info->dev;
    i->ino = info->ino;
    i->mnt_id = (uint32_t)info->mnt_id;
    i->fd = info->kind == INODE_FD ? info->fd : -1;
    i->cache_at = NOT_CACHED;
    i->mode = (uint16_t)(info->mode & S_IFMT);
    i->flags = (uint8_t)(FLAG_LIVE | (info->kind == INODE_HANDLE ? FLAG_HANDLE : 0) | fs_class * FLAG_CLASS);
    i->handle_type = info->handle_type;
    uint8_t *to = i->handle.own;
    if (info->handle_len > HANDLE_INLINE_BYTES) {
        to = malloc(info->handle_len);
        if (to == NULL)
            return -ENOMEM;
        i->handle.far = to;
    }
    i->handle_len = (uint8_t)info->handle_len;
    memcpy(to, info->handle, info->handle_len);
    return 0;
}

static bool acceptable(const struct inode_info *info)
{
    /* The table keeps 32 bits of the mount id: those of statx without STATX_MNT_ID_UNIQUE are no wider. */
    if (info->nodeid == 0 || info->nlookup > INT64_MAX || info->mnt_id > UINT32_MAX)
        return false;
    if (info->handle_len > HANDLE_BYTES_MAX)
        return false;
    return info->kind == INODE_FD ? info->fd >= 0 : info->kind == INODE_HANDLE && info->handle_len != 0;
}

static int publish(struct inodes *t, uint32_t slot)
{
    struct inode *i = inode_at(t, slot);
    struct inode_shard *shard = inode_shard(t, i->nodeid);
    uint32_t hash = identity_hash(i->dev, i->ino, i->mnt_id);
    int rc = index_insert(identity_index(t, hash), hash, slot);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&shard->lock);
    if (inode_lookup(t, shard, i->nodeid) != INDEX_NONE)
        rc = -EEXIST;
    else
        rc = index_insert(&shard->by_node, index_hash(i->nodeid), slot);
    pthread_mutex_unlock(&shard->lock);
    if (rc < 0)
        index_remove(identity_index(t, hash), hash, slot);
    return rc;
}

static void join_mount(struct inodes *t, uint32_t slot)
{
    struct inode *i = inode_at(t, slot);
    if (!mounts_join(t->mounts, i->mnt_id))
        return;
    struct inode_shard *shard = inode_shard(t, i->nodeid);
    pthread_mutex_lock(&shard->lock);
    i->flags |= FLAG_JOINED;
    pthread_mutex_unlock(&shard->lock);
}

int inode_add(struct inodes *t, const struct inode_info *info)
{
    if (!acceptable(info))
        return -EINVAL;
    pthread_mutex_lock(&t->slab_lock);
    uint32_t slot = slab_take(&t->slab);
    pthread_mutex_unlock(&t->slab_lock);
    if (slot == SLAB_NONE)
        return -ENOSPC;
    int rc = fill(inode_at(t, slot), info, class_of(t, info));
    if (rc == 0)
        rc = publish(t, slot);
    if (rc < 0) {
        inode_give_slot(t, slot);
        return rc;
    }
    t->n++;
    join_mount(t, slot);
    if (info->kind == INODE_FD)
        budget_take_held(t->budget);
    else if (info->fd >= 0 && inode_cache_put(t, slot, info->fd) < 0)
        close(info->fd);
    return 0;
}

int inode_delete(struct inodes *t, uint64_t nodeid)
{
    int rc = missing_need(t, nodeid, true);
    if (rc < 0)
        return rc;
    struct inode_shard *shard = inode_shard(t, nodeid);
    pthread_mutex_lock(&shard->lock);
    uint32_t slot = inode_lookup(t, shard, nodeid);
    if (slot == INDEX_NONE) {
        pthread_mutex_unlock(&shard->lock);
        return -ENOENT;
    }
    struct inode *i = inode_at(t, slot);
    index_remove(&shard->by_node, index_hash(nodeid), slot);
    i->flags = (uint8_t)((i->flags & ~FLAG_LIVE) | FLAG_DEAD);
    bool has_cache = (i->flags & FLAG_HANDLE) != 0, joined = (i->flags & FLAG_JOINED) != 0;
    i->pins++; /* ours: the record must outlive what follows */
    pthread_mutex_unlock(&shard->lock);
    uint32_t hash = identity_hash(i->dev, i->ino, i->mnt_id);
    index_remove(identity_index(t, hash), hash, slot);
    t->n--;
    if (joined)
        mounts_part(t->mounts, i->mnt_id);
    if (has_cache) {
        inode_cache_drop(t, slot);
        struct inode_pin pin = {.fd = -1, .slot = slot, .transient = -1};
        inode_unpin(t, &pin);
    } else { /* our pin stays until the deletion is committed */
        i->nlookup = t->leaving;
        t->leaving = slot;
    }
    return 0;
}

void inodes_settle(struct inodes *t)
{
    while (t->leaving != INDEX_NONE) {
        struct inode_pin pin = {.fd = -1, .slot = t->leaving, .transient = -1};
        t->leaving = (uint32_t)inode_at(t, pin.slot)->nlookup;
        inode_unpin(t, &pin);
    }
}

int64_t inode_nlookup_add(struct inodes *t, uint64_t nodeid, int64_t n)
{
    struct inode_shard *shard = inode_shard(t, nodeid);
    int64_t count = missing_need(t, nodeid, true);
    if (count < 0)
        return count;
    count = -ENOENT;
    pthread_mutex_lock(&shard->lock);
    uint32_t slot = inode_lookup(t, shard, nodeid);
    if (slot != INDEX_NONE) {
        struct inode *i = inode_at(t, slot);
        if (__builtin_add_overflow((int64_t)i->nlookup, n, &count) || count < 0)
            count = -ERANGE;
        else
            i->nlookup = (uint64_t)count;
    }
    pthread_mutex_unlock(&shard->lock);
    return count;
}

static void describe(const struct inode *i, struct inode_info *info)
{
    *info = (struct inode_info){
        .nodeid = i->nodeid,
        .nlookup = i->nlookup,
        .dev = i->dev,
        .ino = i->ino,
        .mnt_id = i->mnt_id,
        .mode = i->mode,
        .kind = i->flags & FLAG_HANDLE ? INODE_HANDLE : INODE_FD,
        .fd = i->fd,
        .handle_type = i->handle_type,
        .handle_len = i->handle_len,
        .pins = i->pins,
    };
    memcpy(info->handle, inode_handle(i), i->handle_len);
}

int inode_get(struct inodes *t, uint64_t nodeid, struct inode_info *info)
{
    int rc = missing_need(t, nodeid, true);
    if (rc < 0)
        return rc;
    struct inode_shard *shard = inode_shard(t, nodeid);
    pthread_mutex_lock(&shard->lock);
    uint32_t slot = inode_lookup(t, shard, nodeid);
    if (slot != INDEX_NONE)
        describe(inode_at(t, slot), info);
    pthread_mutex_unlock(&shard->lock);
    return slot == INDEX_NONE ? -ENOENT : 0;
}

int inode_class(struct inodes *t, uint64_t nodeid)
{
    int rc = missing_need(t, nodeid, true);
    if (rc < 0)
        return rc;
    struct inode_shard *shard = inode_shard(t, nodeid);
    pthread_mutex_lock(&shard->lock);
    uint32_t slot = inode_lookup(t, shard, nodeid);
    int fs_class = slot == INDEX_NONE ? -ENOENT : (int)class_in(inode_at(t, slot)->flags);
    pthread_mutex_unlock(&shard->lock);
    return fs_class;
}

uint32_t inode_list(struct inodes *t, uint32_t *cursor, struct inode_info *infos, uint32_t max)
{
    uint32_t n = 0;
    for (; *cursor < t->slab.made && n < max; (*cursor)++) {
        struct inode *i = inode_at(t, *cursor);
        /* nodeid is written by this thread alone, and stands until the slot is used again. */
        if (i->nodeid == 0)
            continue;
        struct inode_shard *shard = inode_shard(t, i->nodeid);
        pthread_mutex_lock(&shard->lock);
        if (inode_lookup(t, shard, i->nodeid) == *cursor)
            describe(i, &infos[n++]);
        pthread_mutex_unlock(&shard->lock);
    }
    return n;
}

void inodes_clear(struct inodes *t, uint64_t keep)
{
    for (uint32_t slot = 0; slot < t->slab.made; slot++) {
        struct inode *i = inode_at(t, slot);
        if (i->nodeid == 0 || i->nodeid == keep)
            continue;
        struct inode_shard *shard = inode_shard(t, i->nodeid);
        pthread_mutex_lock(&shard->lock);
        bool here = inode_lookup(t, shard, i->nodeid) == slot;
        pthread_mutex_unlock(&shard->lock);
        if (here)
            inode_delete(t, i->nodeid);
    }
    inodes_settle(t);
}
