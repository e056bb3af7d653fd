/* SPDX-License-Identifier: Apache-2.0
 *
 * The host object, pins of the executor, and finding files.
 */
#include "fuse/native/host/host_private.h"
#include "fuse/native/host/hostcalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FOUND_MASK (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)
/* Where the limit is so low that the reserve leaves nothing: a guest that can open no file is of no use. */
#define FDS_LEAST 64u
#define PINS_MAX (sizeof((struct host *)0)->inode_pins / sizeof((struct host *)0)->inode_pins[0])

struct host *host_new(int proc_fd, uint32_t inodes_max, uint32_t handles_max, uint32_t cache_fds_max, uint32_t fds_reserved)
{
    struct host *h = aligned_alloc(64, (sizeof *h + 63) / 64 * 64);
    if (h == NULL)
        return NULL;
    memset(h, 0, sizeof *h);
    budget_make(&h->budget, fds_reserved, FDS_LEAST);
    mounts_make(&h->mounts, &h->budget);
    int rc = inodes_make(&h->inodes, &h->mounts, &h->budget, inodes_max, cache_fds_max);
    if (rc == 0 && (rc = handles_make(&h->handles, &h->budget, handles_max)) < 0)
        inodes_free(&h->inodes);
    if (rc < 0) {
        free(h);
        errno = -rc;
        return NULL;
    }
    h->proc_fd = proc_fd;
    return h;
}

void host_set_texts(struct host *h, const struct record_texts *texts)
{
    h->texts = *texts;
}

void host_free(struct host *h)
{
    host_unpin(h);
    handles_free(&h->handles);
    inodes_free(&h->inodes);
    mounts_free(&h->mounts);
    close(h->proc_fd);
    free(h);
}

static void attr_from_statx(const struct statx *sx, struct wire_attr *attr)
{
    *attr = (struct wire_attr){
        .ino = sx->stx_ino,
        .size = sx->stx_size,
        .blocks = sx->stx_blocks,
        .atime = (uint64_t)sx->stx_atime.tv_sec,
        .mtime = (uint64_t)sx->stx_mtime.tv_sec,
        .ctime = (uint64_t)sx->stx_ctime.tv_sec,
        .atimensec = sx->stx_atime.tv_nsec,
        .mtimensec = sx->stx_mtime.tv_nsec,
        .ctimensec = sx->stx_ctime.tv_nsec,
        .mode = sx->stx_mode,
        .nlink = sx->stx_nlink,
        .uid = sx->stx_uid,
        .gid = sx->stx_gid,
        /* The kernel's new_encode_dev, the low 32 bits of glibc's dev_t. */
        .rdev = (uint32_t)makedev(sx->stx_rdev_major, sx->stx_rdev_minor),
        .blksize = sx->stx_blksize,
    };
}

int host_stat(struct host *h, int fd, struct found *f)
{
    struct statx sx;
    if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, FOUND_MASK, &sx) < 0)
        return -errno;
    attr_from_statx(&sx, &f->attr);
    f->mode = sx.stx_mode;
    f->dev = makedev(sx.stx_dev_major, sx.stx_dev_minor);
    f->ino = sx.stx_ino;
    f->mnt_id = sx.stx_mnt_id;
    f->flags = sx.stx_attributes & STATX_ATTR_MOUNT_ROOT ? FOUND_MOUNT_ROOT : 0;
    f->btime_known = (sx.stx_mask & STATX_BTIME) != 0;
    f->btime_sec = sx.stx_btime.tv_sec;
    f->btime_nsec = sx.stx_btime.tv_nsec;
    return 0;
}

struct found_handle {
    struct file_handle head;
    uint8_t bytes[HANDLE_BYTES_MAX];
};
_Static_assert(offsetof(struct found_handle, bytes) == offsetof(struct file_handle, f_handle), "f_handle");

/* Leaves handle_len 0 when the file system gives none: then the file is held by its descriptor. */
static void take_handle(int fd, struct found *f)
{
    struct found_handle fh = {.head.handle_bytes = HANDLE_BYTES_MAX};
    int mount_id;
    if (name_to_handle_at(fd, "", &fh.head, &mount_id, AT_EMPTY_PATH) < 0 || fh.head.handle_bytes > HANDLE_BYTES_MAX)
        return;
    f->handle_type = fh.head.handle_type;
    f->handle_len = fh.head.handle_bytes;
    memcpy(f->handle, fh.bytes, f->handle_len);
}

int host_identify(struct host *h, int path_fd, struct found *f)
{
    f->fd = path_fd;
    f->error = 0;
    f->handle_len = 0;
    f->handle_type = 0;
    int rc = host_stat(h, path_fd, f);
    if (rc == 0 && h->use_handles)
        take_handle(path_fd, f);
    return rc;
}

/* Takes path_fd over: f owns it, or it is closed. */
static int identify_new(struct host *h, int path_fd, struct found *f)
{
    int rc = host_identify(h, path_fd, f);
    if (rc < 0) {
        close(path_fd);
        f->fd = -1;
    }
    return rc < 0 ? rc : path_fd;
}

int host_find_file(struct host *h, int fd, struct found *f)
{
    struct fd_name name = fd_name(fd);
    int path_fd = openat(h->proc_fd, name.text, O_PATH | O_CLOEXEC);
    f->fd = -1;
    return path_fd < 0 ? -errno : identify_new(h, path_fd, f);
}

int host_open_path(struct host *h, int dir_fd, const char *name, uint64_t parent_mnt_id, struct found *f)
{
    int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    f->fd = -1;
    if (fd < 0)
        return -errno;
    for (uint32_t i = 0; parent_mnt_id == 0 && i < h->inode_pins_n; i++)
        if (h->inode_pins[i].fd == dir_fd)
            parent_mnt_id = h->inode_pins[i].mnt_id;
    int rc = identify_new(h, fd, f);
    if (rc < 0)
        return rc;
    if (parent_mnt_id != 0 && f->mnt_id != parent_mnt_id && S_ISDIR(f->mode)) {
        f->flags |= FOUND_SUBMOUNT;
        if (h->announce_submounts)
            f->attr.flags |= WIRE_ATTR_SUBMOUNT;
    }
    return fd;
}

int host_handles_work(struct host *h, const struct found *f)
{
    if (f->handle_len == 0)
        return 0;
    int fd = mounts_open_handle(&h->mounts, f->mnt_id, f->handle_type, f->handle, f->handle_len);
    if (fd < 0)
        return 0;
    struct found again;
    int same = host_stat(h, fd, &again) == 0 && again.ino == f->ino && again.dev == f->dev;
    close(fd);
    return same;
}

int host_room(struct host *h, uint32_t n)
{
    while (!budget_hold(&h->budget, n))
        if (!inode_cache_give(&h->inodes))
            return -ENFILE;
    return 0;
}

int host_entry_room(struct host *h, int dir_fd)
{
    for (uint32_t i = 0; h->use_handles && i < h->inode_pins_n; i++)
        if (h->inode_pins[i].fd == dir_fd && mounts_fd(&h->mounts, h->inode_pins[i].mnt_id) >= 0)
            return 0;
    return host_room(h, 1);
}

void host_count_fds(struct host *h, int64_t n)
{
    budget_count(&h->budget, n);
}

int64_t host_fds_room(struct host *h)
{
    return budget_room(&h->budget);
}

int host_pin(struct host *h, uint64_t nodeid)
{
    if (h->inode_pins_n == PINS_MAX)
        return -EMFILE;
    struct inode_pin *pin = &h->inode_pins[h->inode_pins_n];
    int rc = inode_pin(&h->inodes, nodeid, true, pin);
    if (rc < 0)
        return rc;
    h->inode_pins_n++;
    return pin->fd;
}

int host_pin_handle(struct host *h, uint64_t fh, uint64_t nodeid, int kind)
{
    if (h->handle_pins_n == PINS_MAX)
        return -EMFILE;
    struct handle *handle = kind < 0 ? handle_pin_any(&h->handles, fh, nodeid)
                                     : handle_pin(&h->handles, fh, nodeid, (enum handle_kind)kind);
    if (handle == NULL)
        return -EBADF;
    h->handle_pins[h->handle_pins_n++] = handle;
    return handle->fd;
}

void host_unpin(struct host *h)
{
    while (h->inode_pins_n != 0)
        inode_unpin(&h->inodes, &h->inode_pins[--h->inode_pins_n]);
    while (h->handle_pins_n != 0)
        handle_unpin(&h->handles, h->handle_pins[--h->handle_pins_n]);
}

void host_let_go(struct host *h, struct found *found, struct scan_entry *entries, uint32_t n)
{
    host_unpin(h);
    budget_let_go(&h->budget);
    if (found->fd >= 0)
        close(found->fd);
    found->fd = -1;
    for (uint32_t i = 0; i < n; i++) {
        if (entries[i].found.fd >= 0)
            close(entries[i].found.fd);
        entries[i].found.fd = -1;
    }
}

int fast_fstat(int fd, struct stat *st)
{
#if defined(__x86_64__) || defined(__aarch64__)
    /* There the kernel's struct stat is glibc's. */
    return syscall(SYS_fstat, fd, st) < 0 ? -errno : 0;
#else
    return fstat(fd, st) < 0 ? -errno : 0;
#endif
}

void attr_from_stat(const struct stat *st, struct wire_attr *attr)
{
    *attr = (struct wire_attr){
        .ino = st->st_ino,
        .size = (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks,
        .atime = (uint64_t)st->st_atim.tv_sec,
        .mtime = (uint64_t)st->st_mtim.tv_sec,
        .ctime = (uint64_t)st->st_ctim.tv_sec,
        .atimensec = (uint32_t)st->st_atim.tv_nsec,
        .mtimensec = (uint32_t)st->st_mtim.tv_nsec,
        .ctimensec = (uint32_t)st->st_ctim.tv_nsec,
        .mode = st->st_mode,
        .nlink = (uint32_t)st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev = (uint32_t)st->st_rdev,
        .blksize = (uint32_t)st->st_blksize,
    };
}

int host_close(int fd)
{
    return close(fd) < 0 ? -errno : 0;
}
