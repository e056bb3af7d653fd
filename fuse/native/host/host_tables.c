/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/host/host_tables.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void host_settings(struct host *h, int use_handles, int announce_submounts)
{
    h->use_handles = use_handles != 0;
    h->announce_submounts = announce_submounts != 0;
}

void host_sums(struct host *h, struct host_sums *sums)
{
    pthread_mutex_lock(&h->inodes.cache_lock);
    uint32_t cached = h->inodes.cache_n;
    pthread_mutex_unlock(&h->inodes.cache_lock);
    *sums = (struct host_sums){
        .inodes = h->inodes.n,
        .handles = h->handles.n,
        .mounts = h->mounts.n,
        .cached_fds = cached,
        .cache_opens = __atomic_load_n(&h->inodes.cache_opens, __ATOMIC_RELAXED),
    };
}

int table_mount_add(struct host *h, uint64_t mnt_id, int fd)
{
    return mounts_add(&h->mounts, mnt_id, fd);
}

void table_mount_remove(struct host *h, uint64_t mnt_id)
{
    mounts_remove(&h->mounts, mnt_id);
}

static bool is_known_without_handles(const struct host *h, uint64_t mnt_id)
{
    uint32_t n = h->no_handles_n < NO_HANDLES_MAX ? h->no_handles_n : NO_HANDLES_MAX;
    for (uint32_t i = 0; i < n; i++)
        if (h->no_handles[i] == mnt_id)
            return true;
    return false;
}

int table_mount_meet(struct host *h, const struct found *f)
{
    if (f->handle_len == 0 || is_known_without_handles(h, f->mnt_id) || mounts_fd(&h->mounts, f->mnt_id) >= 0)
        return -EEXIST;
    int fd = host_room(h, 1) < 0 ? -ENFILE : host_mount_fd(h, f->fd);
    if (fd < 0)
        return fd;
    int rc = mounts_add(&h->mounts, f->mnt_id, fd);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    if (!host_handles_work(h, f)) {
        h->no_handles[h->no_handles_n++ % NO_HANDLES_MAX] = f->mnt_id;
        mounts_remove(&h->mounts, f->mnt_id);
        return -EOPNOTSUPP;
    }
    return fd;
}

uint64_t table_mount_leave(struct host *h)
{
    return h->inodes.missing.on ? 0 : mounts_leave(&h->mounts);
}

int table_mount_fd(struct host *h, uint64_t mnt_id)
{
    return mounts_fd(&h->mounts, mnt_id);
}

int table_inode_add(struct host *h, const struct inode_info *info)
{
    return inode_add(&h->inodes, info);
}

int table_inode_add_found(struct host *h, uint64_t nodeid, uint64_t nlookup, int kind, struct found *f)
{
    if (f->handle_len > HANDLE_BYTES_MAX || (kind != INODE_FD && kind != INODE_HANDLE))
        return -EINVAL;
    if (kind == INODE_FD && h->budget.held == 0 && host_room(h, 1) < 0)
        return -ENFILE;
    struct inode_info info = {
        .nodeid = nodeid,
        .nlookup = nlookup,
        .dev = f->dev,
        .ino = f->ino,
        .mnt_id = f->mnt_id,
        .mode = f->mode,
        .kind = (uint32_t)kind,
        .fd = f->fd,
        .handle_type = f->handle_type,
        .handle_len = f->handle_len,
    };
    memcpy(info.handle, f->handle, f->handle_len);
    int rc = inode_add(&h->inodes, &info);
    if (rc == 0)
        f->fd = -1;
    return rc;
}

int table_inode_delete(struct host *h, uint64_t nodeid)
{
    return inode_delete(&h->inodes, nodeid);
}

int64_t table_inode_nlookup_add(struct host *h, uint64_t nodeid, int64_t n)
{
    return inode_nlookup_add(&h->inodes, nodeid, n);
}

static uint64_t find(struct host *h, const struct found *f, int *error)
{
    struct identity id = {
        .dev = f->dev,
        .ino = f->ino,
        .mnt_id = f->mnt_id,
        .handle_type = f->handle_type,
        .handle_len = f->handle_len,
        .handle = f->handle,
    };
    return inode_find(&h->inodes, &id, error);
}

uint64_t table_inode_find(struct host *h, const struct found *f)
{
    int error;
    return find(h, f, &error);
}

void table_missing_begin(struct host *h, missing_fetch *fetch, void *context)
{
    missing_begin(&h->inodes.missing, fetch, context);
}

void table_missing_end(struct host *h)
{
    missing_end(&h->inodes.missing);
}

uint32_t table_missing_questions(struct host *h, uint64_t nodeids[static MISSING_QUESTIONS])
{
    return missing_questions(&h->inodes.missing, nodeids);
}

void table_missing_answered(struct host *h, uint32_t n)
{
    missing_answered(&h->inodes.missing, n);
}

/* `end`: record_texts.inode_end. */
static void write_record(char text[static INODE_TEXT_BYTES], const struct found *f, int kind, const char *end)
{
    static const char digits[] = "0123456789abcdef";
    char handle[2 * HANDLE_BYTES_MAX + 1];
    for (uint32_t i = 0; i < f->handle_len; i++) {
        handle[2 * i] = digits[f->handle[i] >> 4];
        handle[2 * i + 1] = digits[f->handle[i] & 15];
    }
    handle[2 * f->handle_len] = 0;
    int at = snprintf(text, INODE_TEXT_BYTES, "{\"dev\":%llu,\"fd\":", (unsigned long long)f->dev);
    at += kind == INODE_FD ? snprintf(text + at, INODE_TEXT_BYTES - at, "%d", f->fd)
                           : snprintf(text + at, INODE_TEXT_BYTES - at, "null");
    at += f->handle_len != 0
              ? snprintf(text + at, INODE_TEXT_BYTES - at, ",\"handle\":\"%d:%s\"", f->handle_type, handle)
              : snprintf(text + at, INODE_TEXT_BYTES - at, ",\"handle\":null");
    snprintf(text + at, INODE_TEXT_BYTES - at, ",\"ino\":%llu,\"mnt\":%llu,\"mode\":%u,\"nlookup\":1%s",
             (unsigned long long)f->ino, (unsigned long long)f->mnt_id, f->mode & S_IFMT, end);
}

int64_t table_inode_enter(struct host *h, uint64_t nodeid, struct found *f, int no_meeting, int mandatory)
{
    int error;
    uint64_t known = find(h, f, &error);
    if (error < 0)
        return error;
    if (known != 0) {
        int64_t count = inode_nlookup_add(&h->inodes, known, 1);
        if (count < 0)
            return count;
        if (f->fd >= 0)
            close(f->fd);
        f->fd = -1;
        return (int64_t)known;
    }
    int kind = INODE_HANDLE;
    if (f->attr.nlink == 0) {
        kind = INODE_FD; /* only a descriptor keeps a file without a name alive */
    } else if (f->handle_len == 0 || mounts_fd(&h->mounts, f->mnt_id) < 0) {
        if (f->handle_len != 0 && !no_meeting)
            return -EAGAIN;
        if (mandatory)
            return -EOPNOTSUPP;
        kind = INODE_FD;
    }
    if (f->handle_len > HANDLE_BYTES_MAX)
        return -EINVAL;
    write_record(h->entered, f, kind, h->texts.inode_end);
    return table_inode_add_found(h, nodeid, 1, kind, f);
}

const char *table_entered(struct host *h)
{
    return h->entered;
}

int table_inode_get(struct host *h, uint64_t nodeid, struct inode_info *info)
{
    return inode_get(&h->inodes, nodeid, info);
}

uint32_t table_inode_list(struct host *h, uint32_t *cursor, struct inode_info *infos, uint32_t max)
{
    return inode_list(&h->inodes, cursor, infos, max);
}

int table_handle_add(struct host *h, const struct handle_info *info)
{
    return handle_add(&h->handles, info, inode_class(&h->inodes, info->nodeid));
}

int table_handle_delete(struct host *h, uint64_t fh, int kind, struct handle_info *last)
{
    /* Only this thread deletes: what is of that kind now stays so. */
    if (handle_get(&h->handles, fh, last) < 0 || (int)last->kind != kind)
        return -EBADF;
    return handle_delete(&h->handles, fh, last);
}

int table_handle_get(struct host *h, uint64_t fh, struct handle_info *info)
{
    return handle_get(&h->handles, fh, info);
}

uint32_t table_handle_list(struct host *h, uint32_t *cursor, struct handle_info *infos, uint32_t max)
{
    return handle_list(&h->handles, cursor, infos, max);
}

uint32_t table_inodes(struct host *h)
{
    return h->inodes.n;
}

uint32_t table_handles(struct host *h)
{
    return h->handles.n;
}

void table_settle(struct host *h)
{
    handles_settle(&h->handles);
    inodes_settle(&h->inodes);
    mounts_settle(&h->mounts);
}

void table_clear(struct host *h, uint64_t keep_nodeid, uint64_t keep_mnt_id)
{
    handles_clear(&h->handles);
    inodes_clear(&h->inodes, keep_nodeid);
    mounts_clear(&h->mounts, keep_mnt_id);
    h->no_handles_n = 0;
}
