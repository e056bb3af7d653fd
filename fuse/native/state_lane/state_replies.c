/* SPDX-License-Identifier: Apache-2.0
 *
 * The replies of successful operations, and the witnesses that are stored before they begin.
 */
#include "fuse/native/state_lane/state_op.h"

#include <errno.h>
#include <fcntl.h>

uint32_t state_entry_out(const struct state_lane *s, uint8_t *to, uint64_t nodeid, const struct wire_attr *attr)
{
    const struct wire_entry_out out = {
        .nodeid = nodeid,
        .entry_valid = s->config.valid_s,
        .attr_valid = s->config.valid_s,
        .entry_valid_nsec = s->config.valid_ns,
        .attr_valid_nsec = s->config.valid_ns,
        .attr = *attr,
    };
    memcpy(to, &out, sizeof out);
    return (uint32_t)sizeof out;
}

static uint32_t put_open_out(uint8_t *to, uint64_t fh, uint32_t flags)
{
    const struct wire_open_out out = {.fh = fh, .open_flags = flags};
    memcpy(to, &out, sizeof out);
    return (uint32_t)sizeof out;
}

int step_reply_empty(struct state_lane *s, struct state_op *op)
{
    op->reply_bytes = OUT_HEAD;
    return 0;
}

int step_reply_entry(struct state_lane *s, struct state_op *op)
{
    op->reply_bytes = OUT_HEAD + state_entry_out(s, s->reply + OUT_HEAD, op->nodeid, &op->found.attr);
    return 0;
}

int step_reply_open(struct state_lane *s, struct state_op *op)
{
    bool directory = op->row->kinds[EVENT_OPENDIR] >= 0;
    uint32_t flags = directory ? s->config.opendir_flags : s->config.open_flags;
    op->reply_bytes = OUT_HEAD + put_open_out(s->reply + OUT_HEAD, op->fh, flags);
    return 0;
}

int step_reply_create(struct state_lane *s, struct state_op *op)
{
    uint32_t at = OUT_HEAD;
    at += state_entry_out(s, s->reply + at, op->nodeid, &op->found.attr);
    at += put_open_out(s->reply + at, op->fh, s->config.open_flags);
    op->reply_bytes = at;
    return 0;
}

/* Everything but the header stands there already. */
int step_reply_direntplus(struct state_lane *s, struct state_op *op)
{
    return 0;
}

/* --- witnesses, as fuse/recovery/witness.py reads them */

/* (dev, ino) of a name, zeros when there is none; false for anything else. A name that the operation will refuse is not
 * looked up: it may lead out of the share. */
static bool identity(struct state_lane *s, uint64_t nodeid, const char *name, uint32_t bytes, uint64_t *words)
{
    struct stat st;
    if (state_component_error(name, bytes) != 0)
        return false;
    int dir = host_pin(s->host, nodeid);
    if (dir < 0)
        return false;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        words[0] = st.st_dev;
        words[1] = st.st_ino;
        return true;
    }
    words[0] = words[1] = 0;
    return errno == ENOENT;
}

uint32_t state_witness_words(struct state_lane *s, struct state_op *op, uint64_t *words)
{
    if (op->row->witness == STATE_WITNESS_NAME)
        return identity(s, op->nodeid, op->name, op->name_bytes, words) ? 2 : 0;
    if (op->row->witness != STATE_WITNESS_NAMES)
        return 0;
    uint64_t newdir;
    memcpy(&newdir, op->args, sizeof newdir);
    if (state_component_error(op->name2, op->name2_bytes) != 0)
        return 0;
    return identity(s, op->nodeid, op->name, op->name_bytes, words) &&
                   identity(s, newdir, op->name2, op->name2_bytes, words + 2)
               ? 4
               : 0;
}
