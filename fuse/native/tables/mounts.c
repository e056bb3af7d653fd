/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/tables/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Not in every version of linux/magic.h. */
#define MAGIC_XFS 0x58465342
#define MAGIC_ZFS 0x2fc12fc1
#define MAGIC_BCACHEFS 0xca451a4e

int fs_class_of(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return -errno;
    switch ((uint32_t)fs.f_type) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
        return FS_MEMORY;
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case MSDOS_SUPER_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case SQUASHFS_MAGIC:
    case MAGIC_XFS:
    case MAGIC_ZFS:
    case MAGIC_BCACHEFS:
        return FS_LOCAL;
    default:
        return FS_REMOTE;
    }
}

void mounts_make(struct mounts *m, struct budget *budget)
{
    m->budget = budget;
    m->empty = m->leaving_n = 0;
    pthread_rwlock_init(&m->lock, NULL);
    m->n = 0;
}

void mounts_free(struct mounts *m)
{
    mounts_clear(m, 0);
    pthread_rwlock_destroy(&m->lock);
}

/* With the lock held. */
static struct mount *find(struct mounts *m, uint64_t mnt_id)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (m->all[i].mnt_id == mnt_id)
            return &m->all[i];
    return NULL;
}

int mounts_add(struct mounts *m, uint64_t mnt_id, int fd)
{
    int fs_class = fs_class_of(fd);
    if (fs_class < 0)
        return fs_class;
    int rc = 0;
    pthread_rwlock_wrlock(&m->lock);
    if (find(m, mnt_id) != NULL)
        rc = -EEXIST;
    else if (m->n == MOUNTS_MAX)
        rc = -ENOSPC;
    else {
        m->all[m->n++] = (struct mount){.mnt_id = mnt_id, .fd = fd, .fs_class = (uint32_t)fs_class};
        m->empty++;
        budget_take_held(m->budget);
    }
    pthread_rwlock_unlock(&m->lock);
    return rc;
}

static void let_go(struct mounts *m, int fd)
{
    close(fd);
    budget_give(m->budget);
}

void mounts_remove(struct mounts *m, uint64_t mnt_id)
{
    pthread_rwlock_wrlock(&m->lock);
    for (uint32_t i = 0; i < m->n; i++)
        if (m->all[i].mnt_id == mnt_id) {
            let_go(m, m->all[i].fd);
            m->empty -= m->all[i].inodes == 0;
            m->all[i] = m->all[--m->n];
            break;
        }
    pthread_rwlock_unlock(&m->lock);
}

bool mounts_join(struct mounts *m, uint64_t mnt_id)
{
    pthread_rwlock_wrlock(&m->lock);
    struct mount *mount = find(m, mnt_id);
    if (mount != NULL && mount->inodes++ == 0)
        m->empty--;
    pthread_rwlock_unlock(&m->lock);
    return mount != NULL;
}

void mounts_part(struct mounts *m, uint64_t mnt_id)
{
    pthread_rwlock_wrlock(&m->lock);
    struct mount *mount = find(m, mnt_id);
    if (mount != NULL && --mount->inodes == 0)
        m->empty++;
    pthread_rwlock_unlock(&m->lock);
}

uint64_t mounts_leave(struct mounts *m)
{
    uint64_t left = 0;
    if (m->empty == 0 || m->leaving_n == MOUNTS_MAX)
        return 0;
    pthread_rwlock_wrlock(&m->lock);
    for (uint32_t i = 0; i < m->n && left == 0; i++)
        if (m->all[i].inodes == 0) {
            left = m->all[i].mnt_id;
            m->leaving[m->leaving_n++] = m->all[i].fd;
            m->all[i] = m->all[--m->n];
            m->empty--;
        }
    pthread_rwlock_unlock(&m->lock);
    return left;
}

void mounts_settle(struct mounts *m)
{
    while (m->leaving_n != 0)
        let_go(m, m->leaving[--m->leaving_n]);
}

int mounts_fd(struct mounts *m, uint64_t mnt_id)
{
    pthread_rwlock_rdlock(&m->lock);
    const struct mount *mount = find(m, mnt_id);
    int fd = mount != NULL ? mount->fd : -ENOENT;
    pthread_rwlock_unlock(&m->lock);
    return fd;
}

int mounts_class(struct mounts *m, uint64_t mnt_id)
{
    pthread_rwlock_rdlock(&m->lock);
    const struct mount *mount = find(m, mnt_id);
    int fs_class = mount != NULL ? (int)mount->fs_class : -ENOENT;
    pthread_rwlock_unlock(&m->lock);
    return fs_class;
}

void mounts_clear(struct mounts *m, uint64_t keep_mnt_id)
{
    pthread_rwlock_wrlock(&m->lock);
    uint32_t kept = 0;
    m->empty = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        if (keep_mnt_id != 0 && m->all[i].mnt_id == keep_mnt_id) {
            m->empty += m->all[i].inodes == 0;
            m->all[kept++] = m->all[i];
        } else
            let_go(m, m->all[i].fd);
    }
    m->n = kept;
    pthread_rwlock_unlock(&m->lock);
    mounts_settle(m);
}

struct handle_space {
    struct file_handle head;
    uint8_t bytes[HANDLE_BYTES_MAX]; /* where head.f_handle lies */
};
_Static_assert(offsetof(struct handle_space, bytes) == offsetof(struct file_handle, f_handle), "f_handle");

int mounts_open_handle(struct mounts *m, uint64_t mnt_id, int handle_type, const uint8_t *handle, uint32_t len)
{
    struct handle_space h = {.head = {.handle_bytes = len, .handle_type = handle_type}};
    if (len > sizeof h.bytes)
        return -EINVAL;
    memcpy(h.bytes, handle, len);
    pthread_rwlock_rdlock(&m->lock);
    const struct mount *mount = find(m, mnt_id);
    int fd = -ESTALE;
    if (mount != NULL) {
        fd = open_by_handle_at(mount->fd, &h.head, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            fd = -errno;
    }
    pthread_rwlock_unlock(&m->lock);
    return fd;
}
