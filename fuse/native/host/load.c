/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of a journal's checkpoint into the live tables, without an object of the interpreter for each.
 *
 * The text is lines of a key and its record in canonical JSON (keys sorted, no spaces), as write_record in host_tables.c and
 * fuse/session/record.py make it. Nothing else is accepted: a line that differs in any byte from what we write is no record of ours.
 */
#include "fuse/native/host/host_tables.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct text {
    const char *at;
    const char *end;
};

static bool skip(struct text *t, const char *literal)
{
    size_t n = strlen(literal);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, literal, n) != 0)
        return false;
    t->at += n;
    return true;
}

/* Decimal, without a leading zero. */
static bool number(struct text *t, uint64_t max, uint64_t *value)
{
    const char *first = t->at;
    uint64_t n = 0;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9')
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*t->at++ - '0'), &n))
            return false;
    *value = n;
    return t->at > first && (*first != '0' || t->at == first + 1) && n <= max;
}

static bool field(struct text *t, const char *name, uint64_t max, uint64_t *value)
{
    return skip(t, name) && number(t, max, value);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* null, or "TYPE:HEX". */
static bool handle_of(struct text *t, struct inode_info *info)
{
    if (skip(t, "null"))
        return true;
    bool negative = skip(t, "\"-");
    uint64_t type;
    if ((!negative && !skip(t, "\"")) || !number(t, INT32_MAX, &type) || !skip(t, ":"))
        return false;
    info->handle_type = negative ? -(int32_t)type : (int32_t)type;
    while (t->end - t->at >= 2 && *t->at != '"') {
        int high = digit(t->at[0]), low = digit(t->at[1]);
        if (high < 0 || low < 0 || info->handle_len == HANDLE_BYTES_MAX)
            return false;
        info->handle[info->handle_len++] = (uint8_t)(high << 4 | low);
        t->at += 2;
    }
    return skip(t, "\"");
}

static bool fd_of(struct text *t, int32_t *fd)
{
    uint64_t n;
    *fd = -1;
    if (skip(t, "null"))
        return true;
    if (!number(t, INT32_MAX, &n))
        return false;
    *fd = (int32_t)n;
    return true;
}

static bool read_inode(struct text *t, const struct record_texts *texts, struct inode_info *info)
{
    uint64_t mode = 0;
    bool good = skip(t, "{") && field(t, "\"dev\":", UINT64_MAX, &info->dev) && skip(t, ",\"fd\":") &&
                fd_of(t, &info->fd) && skip(t, ",\"handle\":") && handle_of(t, info) &&
                field(t, ",\"ino\":", UINT64_MAX, &info->ino) && field(t, ",\"mnt\":", UINT64_MAX, &info->mnt_id) &&
                field(t, ",\"mode\":", UINT32_MAX, &mode) && field(t, ",\"nlookup\":", INT64_MAX, &info->nlookup) &&
                skip(t, texts->inode_end);
    info->mode = (uint32_t)mode;
    info->kind = info->fd >= 0 ? INODE_FD : INODE_HANDLE;
    return good;
}

static bool read_handle(struct text *t, const struct record_texts *texts, struct handle_info *info)
{
    uint64_t fd = 0, flags = 0;
    bool good = field(t, "{\"fd\":", INT32_MAX, &fd) && field(t, ",\"flags\":", UINT32_MAX, &flags) &&
                field(t, ",\"nodeid\":", UINT64_MAX, &info->nodeid);
    info->fd = (int32_t)fd;
    info->open_flags = (uint32_t)flags;
    info->kind = HANDLE_FILE;
    if (!good || skip(t, texts->file_end))
        return good;
    info->kind = HANDLE_DIR;
    return skip(t, texts->directory_end);
}

static int load_inode(struct host *h, struct text *t, uint64_t key, int32_t *fd)
{
    struct inode_info info = {.nodeid = key};
    if (!read_inode(t, &h->texts, &info))
        return -EBADMSG;
    *fd = info.fd;
    return inode_add(&h->inodes, &info);
}

static int load_handle(struct host *h, struct text *t, uint64_t key, int32_t *fd)
{
    struct handle_info info = {.fh = key};
    if (!read_handle(t, &h->texts, &info))
        return -EBADMSG;
    *fd = info.fd;
    /* Its inode may not be loaded yet, and to ask the descriptor takes time: it is asked when that matters. */
    return handle_add(&h->handles, &info, FS_UNKNOWN);
}

static int load_one(struct host *h, int what, uint64_t key, struct text *t, struct table_loaded *loaded)
{
    int32_t fd = -1;
    loaded->last_key = key;
    int rc = what == LOAD_INODES ? load_inode(h, t, key, &fd) : load_handle(h, t, key, &fd);
    if (rc < 0)
        return rc;
    if (fd >= 0) {
        if (loaded->fds_n == LOAD_FDS_MAX)
            return -E2BIG;
        loaded->fds[loaded->fds_n++] = fd;
    }
    loaded->records++;
    return 0;
}

int table_load(struct host *h, int what, const char *text, size_t len, struct table_loaded *loaded)
{
    struct text t = {.at = text, .end = text + len};
    *loaded = (struct table_loaded){0};
    while (t.at < t.end) {
        uint64_t key = 0;
        bool is_key = number(&t, UINT64_MAX, &key);
        loaded->last_key = key;
        if (!is_key)
            return -EBADMSG;
        int rc = load_one(h, what, key, &t, loaded);
        if (rc < 0)
            return rc;
        if (t.at < t.end && !skip(&t, "\n"))
            return -EBADMSG;
    }
    return 0;
}

int table_take(void *taker, uint64_t key, const char *text, size_t len)
{
    struct table_taker *to = taker;
    struct text t = {.at = text, .end = text + len};
    int rc = load_one(to->host, to->what, key, &t, &to->loaded);
    return rc < 0 ? rc : t.at < t.end ? -EBADMSG : 0;
}
