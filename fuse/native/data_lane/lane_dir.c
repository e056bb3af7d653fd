/* SPDX-License-Identifier: Apache-2.0
 *
 * READDIR: the host's entries as fuse_dirents; offsets are the host's own.
 */
#include "fuse/native/host/dir_read.h"
#include "fuse/native/host/host_private.h"
#include "fuse/native/data_lane/lane_op.h"

#include <errno.h>
#include <stddef.h>

/* A reply may be shorter than what was asked for; the guest asks again. A fuse_dirent is never smaller than the
 * linux_dirent64 it is made of, so as much is read as may be answered. */
#define READDIR_BYTES_MAX 32768u

/* Returns the bytes written to out, at most room; a multiple of 8. */
static uint32_t translate(const char *in, uint32_t in_bytes, char *out, uint32_t room)
{
    uint32_t made = 0;
    for (uint32_t at = 0; at < in_bytes;) {
        const struct dirent64_head *d = (const void *)(in + at);
        uint32_t namelen = (uint32_t)strnlen(d->name, d->reclen - offsetof(struct dirent64_head, name));
        uint32_t len = ((uint32_t)sizeof(struct wire_dirent) + namelen + 7) & ~7u;
        if (len > room - made)
            break;
        struct wire_dirent head = {.ino = d->ino, .off = (uint64_t)d->off, .namelen = namelen, .type = d->type};
        memset(out + made + len - 8, 0, 8);
        memcpy(out + made, &head, sizeof head);
        memcpy(out + made + sizeof head, d->name, namelen);
        made += len;
        at += d->reclen;
    }
    return made;
}

enum lane_result op_readdir(struct lane *lane, struct lane_request *r, bool may_block)
{
    struct wire_read_in arg = LANE_ARG(r, wire_read_in);
    if (arg.size > lane_room(r))
        return lane_errno(r, EIO);
    struct handle *h = handle_pin(&lane->host->handles, arg.fh, r->header.nodeid, HANDLE_DIR);
    if (h == NULL)
        return lane_errno(r, EBADF);
    if (handle_class(h, may_block) != FS_MEMORY && !may_block) {
        handle_unpin(&lane->host->handles, h);
        return LANE_BLOCK;
    }
    _Alignas(8) char in[READDIR_BYTES_MAX];
    char out[READDIR_BYTES_MAX];
    uint32_t room = arg.size < sizeof out ? arg.size : (uint32_t)sizeof out;
    uint32_t want = room < DIRENT64_BYTES_MAX ? DIRENT64_BYTES_MAX : room;
    int n = dir_read(h, arg.offset, in, want);
    handle_unpin(&lane->host->handles, h);
    if (n < 0)
        return lane_errno(r, -n);
    uint32_t made = translate(in, (uint32_t)n, out, room);
    if (made == 0 && n > 0)
        return lane_errno(r, EINVAL); /* no entry fits: as getdents64 answers */
    return lane_body(r, out, made);
}
