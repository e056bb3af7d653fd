/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/host/dir_read.h"
#include "fuse/native/host/host_private.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

int dir_read(struct handle *h, uint64_t offset, void *buffer, uint32_t room)
{
    pthread_mutex_lock(&h->dir_lock);
    int rc = 0;
    if (offset > INT64_MAX)
        rc = -EINVAL;
    else if (h->dir_at != (int64_t)offset && lseek(h->fd, (off_t)offset, SEEK_SET) < 0)
        rc = -errno;
    if (rc == 0) {
        long n = syscall(SYS_getdents64, h->fd, buffer, room);
        rc = n < 0 ? -errno : (int)n;
        h->dir_at = -1; /* at the end too: an entry may be added behind it */
        for (long at = 0; at < n;) {
            const struct dirent64_head *entry = (const void *)((const char *)buffer + at);
            h->dir_at = entry->off;
            at += entry->reclen;
        }
    } else {
        h->dir_at = -1;
    }
    pthread_mutex_unlock(&h->dir_lock);
    return rc;
}
