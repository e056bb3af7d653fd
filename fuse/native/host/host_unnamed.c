/* SPDX-License-Identifier: Apache-2.0
 *
 * Inodes that lose their last name while the guest holds them: a file handle finds an inode as long as something else keeps it
 * alive, so from then on it is held by its descriptor. That was opened before the call that takes the name.
 */
#include "fuse/native/host/hostcalls.h"

#include <errno.h>

static bool is_unnamed(int fd)
{
    struct stat st;
    return fast_fstat(fd, &st) == 0 && st.st_nlink == 0;
}

int host_watch(struct host *h, uint64_t dev, uint64_t ino)
{
    uint64_t nodeids[WATCHED_MAX];
    h->watched_n = 0;
    if (ino == 0 || h->mounts.n == 0)
        return 0;
    int rc = missing_need_ino(&h->inodes.missing, ino);
    if (rc < 0)
        return rc;
    uint32_t n = inodes_numbered(&h->inodes, dev, ino, nodeids, WATCHED_MAX);
    for (uint32_t i = 0; i < n; i++) {
        if (host_pin(h, nodeids[i]) < 0)
            continue; /* its number is another file's by now */
        /* A descriptor that isn't cached needs a place of its own. After a crash the name may be gone already: too late to refuse. */
        const struct inode_pin *pin = &h->inode_pins[h->inode_pins_n - 1];
        if (pin->transient >= 0 && host_room(h, 1) < 0 && !is_unnamed(pin->fd))
            return -ENFILE;
        h->watched[h->watched_n++] = (struct watched){.nodeid = nodeids[i], .pin = h->inode_pins_n - 1};
    }
    return 0;
}

uint64_t host_unnamed(struct host *h, int32_t *fd)
{
    while (h->watched_n != 0) {
        struct watched one = h->watched[--h->watched_n];
        struct inode_pin *pin = &h->inode_pins[one.pin];
        *fd = is_unnamed(pin->fd) ? inode_keep(&h->inodes, pin) : -1;
        if (*fd >= 0)
            return one.nodeid;
    }
    return 0;
}
