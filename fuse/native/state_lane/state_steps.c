/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of plans, natively: from nodeids to descriptors, names, looking up and counting, making and removing. Each is
 * what its namesake in fuse/steps/ does.
 */
#include "fuse/native/host/creds.h"
#include "fuse/native/state_lane/state_op.h"
#include "specs/native/limits.h"

#include <errno.h>
#include <unistd.h>

#define RENAME_FLAGS (1u | 2u | 4u) /* NOREPLACE, EXCHANGE, WHITEOUT: include/uapi/linux/fs.h */
#define EXT_GROUPS 32u         /* FUSE_EXT_GROUPS */
#define ROOT_NODEID 1u

/* --- from nodeids to descriptors */

static int pin(struct state_lane *s, uint64_t nodeid, int *fd)
{
    *fd = host_pin(s->host, nodeid);
    return positive(*fd);
}

int step_node(struct state_lane *s, struct state_op *op)
{
    return pin(s, op->nodeid, &op->node);
}

int step_dir_node(struct state_lane *s, struct state_op *op)
{
    return pin(s, op->nodeid, &op->dir);
}

int step_new_dir_node(struct state_lane *s, struct state_op *op)
{
    uint64_t newdir;
    memcpy(&newdir, op->args, sizeof newdir);
    return pin(s, newdir, &op->newdir);
}

int step_old_node(struct state_lane *s, struct state_op *op)
{
    uint64_t oldnodeid;
    memcpy(&oldnodeid, op->args, sizeof oldnodeid);
    return pin(s, oldnodeid, &op->old);
}

int step_refuse_readonly(struct state_lane *s, struct state_op *op)
{
    return EROFS;
}

/* --- names */

int state_component_error(const char *name, uint32_t bytes)
{
    if (bytes == 0 || memchr(name, '/', bytes) != NULL)
        return EINVAL;
    if (name[0] == '.' && (bytes == 1 || (bytes == 2 && name[1] == '.')))
        return EINVAL;
    return bytes > LIMIT_NAME_MAX_BYTES ? ENAMETOOLONG : 0;
}

int step_check_name(struct state_lane *s, struct state_op *op)
{
    return state_component_error(op->name, op->name_bytes);
}

int step_check_new_name(struct state_lane *s, struct state_op *op)
{
    return state_component_error(op->name2, op->name2_bytes);
}

int step_check_target(struct state_lane *s, struct state_op *op)
{
    if (op->name2_bytes == 0)
        return ENOENT;
    return op->name2_bytes > LIMIT_SYMLINK_TARGET_MAX_BYTES ? ENAMETOOLONG : 0;
}

/* --- looking up and counting */

int step_open_found(struct state_lane *s, struct state_op *op)
{
    if (op->found.fd >= 0)
        close(op->found.fd);
    return positive(host_open_path(s->host, op->dir, op->name, 0, &op->found));
}

int step_open_created(struct state_lane *s, struct state_op *op)
{
    return op->file >= 0 ? step_found_of_file(s, op) : step_open_found(s, op);
}

int step_found_of_file(struct state_lane *s, struct state_op *op)
{
    if (op->found.fd >= 0)
        close(op->found.fd);
    return positive(host_find_file(s->host, op->file, &op->found));
}

int state_intern(struct state_lane *s, struct state_op *op, struct found *f, uint64_t *nodeid)
{
    int mandatory = (int)s->config.mandatory;
    int64_t known = table_inode_enter(s->host, s->batch.last_nodeid + 1, f, 0, mandatory);
    if (known == -EAGAIN) {
        int fd = table_mount_meet(s->host, f);
        if (fd >= 0)
            record_mount_put(op, f->mnt_id, fd);
        known = table_inode_enter(s->host, s->batch.last_nodeid + 1, f, 1, mandatory);
    }
    if (known < 0)
        return (int)-known;
    if (known > 0) {
        record_inode_add(op, (uint64_t)known);
    } else {
        known = (int64_t)++s->batch.last_nodeid;
        record_inode_put(op, (uint64_t)known, table_entered(s->host));
    }
    *nodeid = (uint64_t)known;
    return 0;
}

int step_intern(struct state_lane *s, struct state_op *op)
{
    uint64_t nodeid = 0;
    int error = state_intern(s, op, &op->found, &nodeid);
    op->nodeid = nodeid;
    return error;
}

void state_forget(struct state_lane *s, struct state_op *op, uint64_t nodeid, uint64_t nlookup)
{
    if (nlookup == 0 || nodeid == ROOT_NODEID)
        return;
    int64_t left = nlookup <= INT64_MAX ? table_inode_nlookup_add(s->host, nodeid, -(int64_t)nlookup) : -ERANGE;
    if (left > 0) {
        record_inode_forget(op, nodeid, nlookup);
        return;
    }
    if (left == -ENOENT) {
        s->counts[STATE_FORGET_UNKNOWN]++;
        return;
    }
    if (left < 0)
        s->counts[STATE_FORGET_MORE]++;
    if (table_inode_delete(s->host, nodeid) < 0)
        return;
    record_inode_forget_last(op, nodeid);
    for (uint64_t mnt_id; (mnt_id = table_mount_leave(s->host)) != 0;)
        record_mount_delete(op, mnt_id);
}

int step_forget_one(struct state_lane *s, struct state_op *op)
{
    uint64_t nlookup;
    memcpy(&nlookup, op->args, sizeof nlookup);
    state_forget(s, op, op->nodeid, nlookup);
    return 0;
}

int step_forget_many(struct state_lane *s, struct state_op *op)
{
    struct wire_batch_forget_in arg = STATE_ARG(op, wire_batch_forget_in);
    uint32_t sent = op->data_bytes / (uint32_t)sizeof(struct wire_forget_one);
    uint32_t n = arg.count < sent ? arg.count : sent;
    if (n > LIMIT_FORGETS_MAX_PER_REQUEST)
        n = LIMIT_FORGETS_MAX_PER_REQUEST;
    if (n < arg.count)
        s->counts[STATE_FORGET_SHORT]++;
    for (uint32_t i = 0; i < n; i++) {
        struct wire_forget_one one;
        memcpy(&one, op->data + i * sizeof one, sizeof one);
        state_forget(s, op, one.nodeid, one.nlookup);
    }
    return 0;
}

/* --- making */

/* The one group that the guest sends with CREATE_SUPP_GROUP, or ACT_NO_GROUP; what is cut short is ignored. */
static int64_t supplementary_group(const uint8_t *tail, uint32_t bytes)
{
    uint32_t head[2], groups[2];
    for (uint32_t at = 0; bytes - at >= sizeof head && at < bytes; at += head[0]) {
        memcpy(head, tail + at, sizeof head);
        if (head[0] < sizeof head)
            return ACT_NO_GROUP;
        if (head[1] == EXT_GROUPS && head[0] <= bytes - at) {
            if (head[0] < sizeof head + sizeof groups)
                return ACT_NO_GROUP;
            memcpy(groups, tail + at + sizeof head, sizeof groups);
            return groups[0] == 1 ? (int64_t)groups[1] : ACT_NO_GROUP;
        }
        if (head[0] > bytes - at)
            return ACT_NO_GROUP;
    }
    return ACT_NO_GROUP;
}

int step_act_as_caller(struct state_lane *s, struct state_op *op)
{
    const struct lane_in_header *header = &op->r->header;
    int64_t group = supplementary_group(op->tail, op->tail_bytes);
    int keep = s->config.keep_dac && group < 0 ? ACT_KEEP_DAC : ACT_KEEP_NONE;
    int rc = act_as(header->uid, header->gid, group, 0, keep);
    op->caller = rc == 0;
    return positive(rc);
}

int step_act_as_daemon(struct state_lane *s, struct state_op *op)
{
    op->caller = false;
    act_as_daemon();
    return 0;
}

int step_mkdirat(struct state_lane *s, struct state_op *op)
{
    struct wire_mkdir_in arg = STATE_ARG(op, wire_mkdir_in);
    return positive(host_mkdir(s->host, op->dir, op->name, arg.mode));
}

int step_mknodat(struct state_lane *s, struct state_op *op)
{
    struct wire_mknod_in arg = STATE_ARG(op, wire_mknod_in);
    return positive(host_mknod(s->host, op->dir, op->name, arg.mode, arg.rdev));
}

int step_symlinkat(struct state_lane *s, struct state_op *op)
{
    return positive(host_symlink(s->host, op->name2, op->dir, op->name));
}

int step_linkat(struct state_lane *s, struct state_op *op)
{
    return positive(host_link(s->host, op->old, op->dir, op->name));
}

/* --- removing and moving */

int step_unlinkat(struct state_lane *s, struct state_op *op)
{
    return positive(host_unlink(s->host, op->dir, op->name, 0));
}

int step_rmdirat(struct state_lane *s, struct state_op *op)
{
    return positive(host_unlink(s->host, op->dir, op->name, 1));
}

int step_renameat2(struct state_lane *s, struct state_op *op)
{
    /* RENAME has only the first of these fields; args is zero behind it. */
    struct wire_rename2_in arg = STATE_ARG(op, wire_rename2_in);
    if (arg.flags & ~RENAME_FLAGS)
        return EINVAL;
    return positive(host_rename(s->host, op->dir, op->name, op->newdir, op->name2, arg.flags));
}

static int watch(struct state_lane *s, struct state_op *op, uint32_t at)
{
    return at + 2 <= op->words_n ? positive(host_watch(s->host, op->words[at], op->words[at + 1])) : 0;
}

int step_watch_name(struct state_lane *s, struct state_op *op)
{
    return watch(s, op, 0);
}

int step_watch_new_name(struct state_lane *s, struct state_op *op)
{
    return watch(s, op, 2);
}

int step_keep_unnamed(struct state_lane *s, struct state_op *op)
{
    int32_t fd;
    for (uint64_t nodeid; (nodeid = host_unnamed(s->host, &fd)) != 0;) {
        if (op->records_n == 0)
            record_session(op);
        record_inode_unnamed(op, nodeid, fd);
    }
    return 0;
}
