/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/tables/handles.h"
#include "fuse/native/tables/mounts.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct handle *at(struct handles *t, uint32_t slot)
{
    return slab_at(&t->slab, slot);
}

static struct handle_shard *shard_of(struct handles *t, uint64_t fh)
{
    return &t->shards[index_hash(fh) / (UINT32_MAX / HANDLE_SHARDS + 1)];
}

static uint32_t lookup(struct handles *t, const struct handle_shard *shard, uint64_t fh)
{
    uint32_t hash = index_hash(fh);
    struct index_walk walk = index_start(&shard->by_fh, hash);
    uint32_t slot;
    while ((slot = index_next(&shard->by_fh, hash, &walk)) != INDEX_NONE)
        if (at(t, slot)->fh == fh)
            return slot;
    return INDEX_NONE;
}

int handles_make(struct handles *t, struct budget *budget, uint32_t handles_max)
{
    memset(t, 0, sizeof *t);
    t->leaving = INDEX_NONE;
    t->budget = budget;
    if (handles_max == 0 || slab_make(&t->slab, sizeof(struct handle), handles_max) < 0)
        return handles_max == 0 ? -EINVAL : -ENOMEM;
    for (uint32_t i = 0; i < HANDLE_SHARDS; i++)
        pthread_mutex_init(&t->shards[i].lock, NULL);
    pthread_mutex_init(&t->slab_lock, NULL);
    return 0;
}

void handles_free(struct handles *t)
{
    handles_clear(t);
    for (uint32_t i = 0; i < HANDLE_SHARDS; i++) {
        index_free(&t->shards[i].by_fh);
        pthread_mutex_destroy(&t->shards[i].lock);
    }
    pthread_mutex_destroy(&t->slab_lock);
    slab_free(&t->slab);
}

static void give_slot(struct handles *t, uint32_t slot)
{
    pthread_mutex_destroy(&at(t, slot)->dir_lock);
    pthread_mutex_lock(&t->slab_lock);
    slab_give(&t->slab, slot);
    pthread_mutex_unlock(&t->slab_lock);
}

static void fill(struct handle *h, const struct handle_info *info, int fs_class)
{
    h->fh = info->fh;
    h->nodeid = info->nodeid;
    h->fd = info->fd;
    h->open_flags = info->open_flags;
    h->kind = (uint8_t)info->kind;
    atomic_init(&h->fs_class, (uint8_t)fs_class);
    atomic_init(&h->reads, info->reads);
    atomic_init(&h->writes, info->writes);
    atomic_init(&h->bytes_read, info->bytes_read);
    atomic_init(&h->bytes_written, info->bytes_written);
    pthread_mutex_init(&h->dir_lock, NULL);
    h->dir_at = -1;
}

int handle_add(struct handles *t, const struct handle_info *info, int fs_class)
{
    if (info->fd < 0 || info->kind > HANDLE_DIR)
        return -EINVAL;
    if (fs_class < 0 && (fs_class = fs_class_of(info->fd)) < 0)
        return fs_class;
    pthread_mutex_lock(&t->slab_lock);
    uint32_t slot = slab_take(&t->slab);
    pthread_mutex_unlock(&t->slab_lock);
    if (slot == SLAB_NONE)
        return -ENOSPC;
    fill(at(t, slot), info, fs_class);
    at(t, slot)->slot = slot;
    struct handle_shard *shard = shard_of(t, info->fh);
    int rc = -EEXIST;
    pthread_mutex_lock(&shard->lock);
    if (lookup(t, shard, info->fh) == INDEX_NONE)
        rc = index_insert(&shard->by_fh, index_hash(info->fh), slot);
    pthread_mutex_unlock(&shard->lock);
    if (rc < 0) {
        give_slot(t, slot);
        return rc;
    }
    t->n++;
    budget_take_held(t->budget);
    return 0;
}

static void describe(const struct handle *h, struct handle_info *info)
{
    *info = (struct handle_info){
        .fh = h->fh,
        .nodeid = h->nodeid,
        .fd = h->fd,
        .open_flags = h->open_flags,
        .kind = h->kind,
        .pins = h->pins,
        .reads = atomic_load_explicit(&h->reads, memory_order_relaxed),
        .writes = atomic_load_explicit(&h->writes, memory_order_relaxed),
        .bytes_read = atomic_load_explicit(&h->bytes_read, memory_order_relaxed),
        .bytes_written = atomic_load_explicit(&h->bytes_written, memory_order_relaxed),
    };
}

/* Shard locked: one pin less; true when the caller must bury the record after it unlocked. */
static bool drop_pin(struct handle *h)
{
    return --h->pins == 0 && (atomic_load_explicit(&h->flags, memory_order_relaxed) & HANDLE_DEAD) != 0;
}

static void bury(struct handles *t, struct handle *h)
{
    close(h->fd);
    budget_give(t->budget);
    give_slot(t, h->slot);
}

int handle_delete(struct handles *t, uint64_t fh, struct handle_info *last)
{
    struct handle_shard *shard = shard_of(t, fh);
    pthread_mutex_lock(&shard->lock);
    uint32_t slot = lookup(t, shard, fh);
    if (slot == INDEX_NONE) {
        pthread_mutex_unlock(&shard->lock);
        return -ENOENT;
    }
    struct handle *h = at(t, slot);
    if (last != NULL)
        describe(h, last);
    index_remove(&shard->by_fh, index_hash(fh), slot);
    atomic_fetch_or_explicit(&h->flags, HANDLE_DEAD, memory_order_relaxed);
    h->pins++; /* until handles_settle */
    pthread_mutex_unlock(&shard->lock);
    h->next_leaving = t->leaving;
    t->leaving = slot;
    t->n--;
    return 0;
}

void handles_settle(struct handles *t)
{
    while (t->leaving != INDEX_NONE) {
        struct handle *h = at(t, t->leaving);
        t->leaving = h->next_leaving;
        handle_unpin(t, h);
    }
}

int handle_get(struct handles *t, uint64_t fh, struct handle_info *info)
{
    struct handle_shard *shard = shard_of(t, fh);
    pthread_mutex_lock(&shard->lock);
    uint32_t slot = lookup(t, shard, fh);
    if (slot != INDEX_NONE)
        describe(at(t, slot), info);
    pthread_mutex_unlock(&shard->lock);
    return slot == INDEX_NONE ? -ENOENT : 0;
}

uint32_t handle_list(struct handles *t, uint32_t *cursor, struct handle_info *infos, uint32_t max)
{
    uint32_t n = 0;
    for (; *cursor < t->slab.made && n < max; (*cursor)++) {
        uint64_t fh = at(t, *cursor)->fh;
        struct handle_shard *shard = shard_of(t, fh);
        pthread_mutex_lock(&shard->lock);
        if (lookup(t, shard, fh) == *cursor)
            describe(at(t, *cursor), &infos[n++]);
        pthread_mutex_unlock(&shard->lock);
    }
    return n;
}

void handles_clear(struct handles *t)
{
    for (uint32_t slot = 0; slot < t->slab.made; slot++) {
        uint64_t fh = at(t, slot)->fh;
        struct handle_shard *shard = shard_of(t, fh);
        pthread_mutex_lock(&shard->lock);
        bool here = lookup(t, shard, fh) == slot;
        pthread_mutex_unlock(&shard->lock);
        if (here)
            (void)handle_delete(t, fh, NULL);
    }
    handles_settle(t);
}

struct handle *handle_pin_any(struct handles *t, uint64_t fh, uint64_t nodeid)
{
    struct handle_shard *shard = shard_of(t, fh);
    struct handle *h = NULL;
    pthread_mutex_lock(&shard->lock);
    uint32_t slot = lookup(t, shard, fh);
    if (slot != INDEX_NONE && (nodeid == 0 || at(t, slot)->nodeid == nodeid)) {
        h = at(t, slot);
        h->pins++;
    }
    pthread_mutex_unlock(&shard->lock);
    return h;
}

struct handle *handle_pin(struct handles *t, uint64_t fh, uint64_t nodeid, enum handle_kind kind)
{
    struct handle *h = handle_pin_any(t, fh, nodeid);
    if (h != NULL && h->kind != kind) {
        handle_unpin(t, h);
        return NULL;
    }
    return h;
}

void handle_unpin(struct handles *t, struct handle *h)
{
    struct handle_shard *shard = shard_of(t, h->fh);
    pthread_mutex_lock(&shard->lock);
    bool last = drop_pin(h);
    pthread_mutex_unlock(&shard->lock);
    if (last)
        bury(t, h);
}

uint32_t handle_class(struct handle *h, bool may_block)
{
    uint32_t known = atomic_load_explicit(&h->fs_class, memory_order_relaxed);
    if (known != FS_UNKNOWN)
        return known;
    int found = may_block ? fs_class_of(h->fd) : -1;
    if (found < 0)
        return FS_REMOTE;
    atomic_store_explicit(&h->fs_class, (uint8_t)found, memory_order_relaxed);
    return (uint32_t)found;
}
