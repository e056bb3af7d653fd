/* SPDX-License-Identifier: Apache-2.0
 *
 * The READDIRPLUS primitive: entries of a directory, each opened and identified.
 */
#include "fuse/native/host/dir_read.h"
#include "fuse/native/host/host_private.h"
#include "fuse/native/host/hostcalls.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* Entries cost at least 160 bytes of reply and about 32 of getdents64's: one read of a fifth suffices mostly. */
#define SCAN_BUFFER_BYTES 8192u

static uint32_t reply_bytes(uint32_t namelen)
{
    return WIRE_ENTRY_OUT_BYTES + (uint32_t)((sizeof(struct wire_dirent) + namelen + 7) & ~(size_t)7);
}

static void look(struct host *h, int dir_fd, uint64_t parent_mnt_id, int keep_fds, struct scan_entry *e)
{
    struct found *f = &e->found;
    f->error = 0;
    f->handle_len = 0;
    f->fd = -1;
    if (strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0) {
        f->error = ENOENT;
        return;
    }
    int rc = host_open_path(h, dir_fd, e->name, parent_mnt_id, f);
    if (rc < 0) {
        f->error = -rc;
        return;
    }
    if ((keep_fds || f->handle_len == 0) && budget_hold(&h->budget, 1))
        return;
    close(f->fd);
    f->fd = -1;
    f->error = f->handle_len == 0 ? ENFILE : 0;
}

static void write_dirent(struct scan_entry *e)
{
    struct wire_dirent d = {.ino = e->ino, .off = e->off, .namelen = e->namelen, .type = e->type};
    _Static_assert(sizeof d + 256 <= sizeof e->dirent, "a name of 255 bytes and its padding");
    e->dirent_bytes = (uint32_t)((sizeof d + e->namelen + 7) & ~(size_t)7);
    memcpy(e->dirent, &d, sizeof d);
    memset(e->dirent + e->dirent_bytes - 8, 0, 8); /* the padding; the name overwrites the rest of it */
    memcpy(e->dirent + sizeof d, e->name, e->namelen);
}

struct scan {
    struct host *host;
    struct handle *dir;
    uint64_t parent_mnt_id; /* 0: the guest forgot the directory and kept it open; submounts are not told */
    int keep_fds;
    struct scan_entry *entries;
    uint32_t max;
    uint32_t n;
    uint32_t left; /* bytes of the reply */
};

/* Takes the records of one read; false when the reply is full. */
static int take(struct scan *s, const char *buffer, uint32_t bytes, uint64_t *offset)
{
    for (uint32_t at = 0; at < bytes;) {
        const struct dirent64_head *d = (const void *)(buffer + at);
        uint32_t namelen = (uint32_t)strnlen(d->name, d->reclen - offsetof(struct dirent64_head, name));
        struct scan_entry *e = &s->entries[s->n];
        if (s->n == s->max || reply_bytes(namelen) > s->left)
            return 0;
        if (namelen < sizeof e->name) {
            e->off = (uint64_t)d->off;
            e->ino = d->ino;
            e->type = d->type;
            e->namelen = namelen;
            memcpy(e->name, d->name, namelen);
            e->name[namelen] = 0;
            write_dirent(e);
            look(s->host, s->dir->fd, s->parent_mnt_id, s->keep_fds, e);
            s->left -= reply_bytes(namelen);
            s->n++;
        }
        *offset = (uint64_t)d->off;
        at += d->reclen;
    }
    return 1;
}

int host_scan(struct host *h, uint64_t fh, uint64_t offset, uint32_t bytes, int keep_fds, struct scan_entry *entries,
              uint32_t max)
{
    struct scan s = {.host = h, .keep_fds = keep_fds, .entries = entries, .max = max, .left = bytes};
    s.dir = handle_pin(&h->handles, fh, 0, HANDLE_DIR);
    if (s.dir == NULL)
        return -EBADF;
    struct inode_info inode;
    if (inode_get(&h->inodes, s.dir->nodeid, &inode) == 0)
        s.parent_mnt_id = inode.mnt_id;
    _Alignas(8) char buffer[SCAN_BUFFER_BYTES];
    int rc;
    do {
        uint32_t room = s.left / 5 < DIRENT64_BYTES_MAX ? DIRENT64_BYTES_MAX : s.left / 5;
        rc = dir_read(s.dir, offset, buffer, room < sizeof buffer ? room : (uint32_t)sizeof buffer);
    } while (rc > 0 && take(&s, buffer, (uint32_t)rc, &offset));
    handle_unpin(&h->handles, s.dir);
    if (s.n != 0)
        return (int)s.n; /* an error later on is met again by the next scan */
    return rc > 0 ? -EINVAL : rc;
}
