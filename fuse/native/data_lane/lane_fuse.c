/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/data_lane/append.h"
#include "fuse/native/data_lane/lane_op.h"

#include <errno.h>
#include <stdlib.h>

/* The executors, and the bytes of argument that each takes from `in` without asking how many there are. */
static const struct {
    const char *name;
    lane_op_fn *run;
    uint32_t arg_bytes;
} ops[OP_COUNT] = {
    [OP_READ] = {"read", op_read, sizeof(struct wire_read_in)},
    [OP_WRITE] = {"write", op_write, sizeof(struct wire_write_in)},
    [OP_GETATTR] = {"getattr", op_getattr, sizeof(struct wire_getattr_in)},
    [OP_STATX] = {"statx", op_statx, sizeof(struct wire_statx_in)},
    [OP_STATFS] = {"statfs", op_statfs, 0},
    [OP_READDIR] = {"readdir", op_readdir, sizeof(struct wire_read_in)},
    [OP_READLINK] = {"readlink", op_readlink, 0},
    [OP_LSEEK] = {"lseek", op_lseek, sizeof(struct wire_lseek_in)},
    [OP_FSYNC] = {"fsync", op_fsync, sizeof(struct wire_fsync_in)},
    [OP_FSYNCDIR] = {"fsyncdir", op_fsyncdir, sizeof(struct wire_fsync_in)},
    [OP_FLUSH] = {"flush", op_flush, sizeof(struct wire_flush_in)},
    [OP_ACCESS] = {"access", op_access, sizeof(struct wire_access_in)},
    [OP_GETXATTR] = {"getxattr", op_getxattr, sizeof(struct wire_getxattr_in)},
    [OP_LISTXATTR] = {"listxattr", op_listxattr, sizeof(struct wire_getxattr_in)},
    [OP_FALLOCATE] = {"fallocate", op_fallocate, sizeof(struct wire_fallocate_in)},
    [OP_COPY_FILE_RANGE] = {"copy_file_range", op_copy_file_range, sizeof(struct wire_copy_file_range_in)},
    [OP_COPY_FILE_RANGE_64] = {"copy_file_range_64", op_copy_file_range_64, sizeof(struct wire_copy_file_range_in)},
    [OP_SYNCFS] = {"syncfs", op_syncfs, 0},
};

static void count(struct lane *lane, uint32_t opcode, bool error)
{
    if (opcode >= LANE_OPCODES)
        opcode = 0; /* no FUSE opcode has that number: the unknown ones */
    atomic_fetch_add_explicit(&lane->counts[opcode].done, 1, memory_order_relaxed);
    if (error)
        atomic_fetch_add_explicit(&lane->counts[opcode].errors, 1, memory_order_relaxed);
}

static void refuse(struct lane *lane, uint32_t opcode, const struct lane_row *row, int error, struct lane_verdict *v)
{
    v->kind = row->flags & ROW_NO_REPLY ? LANE_SILENT : LANE_REFUSE;
    v->error = error;
    count(lane, opcode, true);
}

static void classify(void *ctx, const struct lane_in_header *header, uint32_t in_total, struct lane_verdict *v)
{
    struct lane *lane = ctx;
    static const struct lane_row unknown = {.kind = LANE_REFUSE, .error = ENOSYS};
    const struct lane_row *row = header->opcode < LANE_OPCODES ? &lane->rows[header->opcode] : &unknown;
    v->head_bytes = row->head_bytes;
    v->error = 0;
    bool ready = atomic_load_explicit(&lane->session_ready, memory_order_acquire) != 0;
    if (header->len != in_total || header->len < IN_HEAD)
        refuse(lane, header->opcode, row, EIO, v);
    else if (!ready && (row->flags & ROW_BEFORE_INIT) == 0)
        refuse(lane, header->opcode, row, EIO, v);
    else if (row->kind == LANE_REFUSE)
        refuse(lane, header->opcode, row, row->error, v);
    else if (in_total < row->in_min)
        refuse(lane, header->opcode, row, EINVAL, v);
    else {
        v->kind = (enum lane_kind)row->kind;
        if (v->kind == LANE_SILENT)
            count(lane, header->opcode, false);
    }
}

static enum lane_result execute(void *ctx, struct lane_request *r, bool may_block)
{
    struct lane *lane = ctx;
    uint32_t opcode = r->header.opcode;
    uint32_t op = opcode < LANE_OPCODES ? lane->rows[opcode].op : OP_NONE;
    enum lane_result result;
    if (op == OP_NONE)
        result = lane_errno(r, ENOSYS);
    else if (r->in_len < IN_HEAD + ops[op].arg_bytes)
        result = lane_errno(r, EIO);
    else
        result = ops[op].run(lane, r, may_block);
    if (result == LANE_DONE)
        count(lane, opcode, r->error != 0);
    return result;
}

struct lane *lane_new(struct host *host)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL)
        return NULL;
    lane->host = host;
    append_locks_init(&lane->append_locks);
    lane->ops = (struct lane_ops){.ctx = lane, .classify = classify, .execute = execute};
    for (uint32_t i = 0; i < LANE_OPCODES; i++)
        lane->rows[i] = (struct lane_row){.kind = LANE_REFUSE, .error = ENOSYS};
    return lane;
}

void lane_free(struct lane *lane)
{
    free(lane);
}

int lane_op_by_name(const char *name)
{
    for (int op = OP_NONE + 1; op < OP_COUNT; op++)
        if (strcmp(ops[op].name, name) == 0)
            return op;
    return -ENOENT;
}

int lane_set_row(struct lane *lane, uint32_t opcode, const struct lane_row *row)
{
    if (opcode >= LANE_OPCODES || row->kind > LANE_SILENT || row->op >= OP_COUNT)
        return -EINVAL;
    if (row->kind == LANE_REFUSE && row->error <= 0)
        return -EINVAL;
    if (row->kind == LANE_DATA) {
        uint32_t need = IN_HEAD + ops[row->op].arg_bytes;
        if (row->op == OP_NONE || row->in_min < need || row->head_bytes < need)
            return -EINVAL;
    }
    lane->rows[opcode] = *row;
    return 0;
}

void lane_set_config(struct lane *lane, uint64_t attr_timeout_ns, int readonly, int writeback,
                     int direct_io)
{
    lane->attr_timeout_ns = attr_timeout_ns;
    lane->readonly = readonly != 0;
    lane->writeback = writeback != 0;
    lane->direct_io = direct_io != 0;
}

void lane_set_ready(struct lane *lane, int ready)
{
    atomic_store_explicit(&lane->session_ready, ready != 0, memory_order_release);
}

void lane_counts(struct lane *lane, uint32_t opcode, uint64_t *done, uint64_t *errors)
{
    *done = *errors = 0;
    if (opcode >= LANE_OPCODES)
        return;
    *done = atomic_load_explicit(&lane->counts[opcode].done, memory_order_relaxed);
    *errors = atomic_load_explicit(&lane->counts[opcode].errors, memory_order_relaxed);
}

uint64_t lane_ops_address(struct lane *lane)
{
    return (uintptr_t)&lane->ops;
}
