/* SPDX-License-Identifier: Apache-2.0 */
#include "specs/native/crash_point.h"
#include "fuse/native/host/creds.h"
#include "fuse/native/state_lane/state_op.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define STEP(name) {#name, step_##name}

static const struct {
    const char *name;
    state_step_fn *run;
} steps[] = {
    STEP(node), STEP(dir_node), STEP(new_dir_node), STEP(old_node), STEP(directory_handle), STEP(handle_room),
    STEP(entry_room), STEP(check_name), STEP(check_new_name), STEP(check_target), STEP(act_as_caller), STEP(act_as_daemon),
    STEP(mkdirat), STEP(mknodat), STEP(symlinkat), STEP(linkat), STEP(unlinkat), STEP(rmdirat), STEP(renameat2),
<<<<<<< HEAD
    STEP(create_file), STEP(open_tmpfile), STEP(open_found), STEP(open_created), STEP(found_of_file), STEP(intern), STEP(open_node),
=======
    STEP(watch_name), STEP(watch_new_name), STEP(keep_unnamed),
    STEP(create_file), STEP(open_tmpfile), STEP(open_found), STEP(found_of_file), STEP(intern), STEP(open_node),
>>>>>>> refs/heads/fds
    STEP(open_existing), STEP(open_directory), STEP(add_file), STEP(add_directory), STEP(drop_file),
    STEP(drop_directory), STEP(forget_one), STEP(forget_many), STEP(read_found), STEP(intern_all), STEP(reply_empty),
    STEP(reply_entry), STEP(reply_open), STEP(reply_create), STEP(reply_direntplus), STEP(refuse_readonly),
};
#define STEPS_N (sizeof steps / sizeof steps[0])

struct state_lane *state_new(struct host *host)
{
    struct state_lane *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->host = host;
    s->op.texts = &host->texts;
    s->op.file = -1;
    s->op.found.fd = -1;
    s->reply = malloc(STATE_REPLY_BYTES_MAX);
    if (s->reply == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

void state_free(struct state_lane *s)
{
    free(s->op.text.at);
    free(s->op.records);
    free(s->batch.text);
    free(s->batch.kinds);
    free(s->batch.machines);
    free(s->batch.keys);
    free(s->scan);
    free(s->reply);
    free(s);
}

int state_step_by_name(const char *name)
{
    for (uint32_t i = 0; i < STEPS_N; i++)
        if (strcmp(steps[i].name, name) == 0)
            return (int)i;
    return -ENOENT;
}

int state_set_row(struct state_lane *s, uint32_t opcode, const struct state_row *row)
{
    if (opcode >= STATE_OPCODES || row->steps_n > STATE_STEPS_MAX || row->names > 2 ||
        row->witness > STATE_WITNESS_NAMES || memchr(row->name, 0, sizeof row->name) == NULL ||
        memchr(row->codes, 0, sizeof row->codes) == NULL)
        return -EINVAL;
    for (uint32_t i = 0; i < row->steps_n; i++)
        if (row->steps[i] >= STEPS_N)
            return -EINVAL;
    struct state_row *to = &s->rows[opcode];
    *to = *row;
    to->arg_bytes = 0;
    for (const char *code = row->codes; *code != 0; code++) {
        if (*code != 'I' && *code != 'Q')
            return -EINVAL;
        to->arg_bytes += *code == 'Q' ? 8 : 4;
    }
    if (to->arg_bytes > sizeof s->op.args)
        return -EINVAL;
    to->flags |= STATE_ROW_NAMED;
    return 0;
}

void state_set_config(struct state_lane *s, const struct state_config *config)
{
    s->config = *config;
}

struct state_batch *state_batch_of(struct state_lane *s)
{
    return &s->batch;
}

uint64_t state_counted(const struct state_lane *s, uint32_t count)
{
    return count < STATE_COUNTS ? s->counts[count] : 0;
}

static bool take_name(const uint8_t **at, const uint8_t *end, const char **name, uint32_t *bytes)
{
    const uint8_t *nul = *at < end ? memchr(*at, 0, (size_t)(end - *at)) : NULL;
    if (nul == NULL)
        return false;
    *name = (const char *)*at;
    *bytes = (uint32_t)(nul - *at);
    *at = nul + 1;
    return true;
}

/* What stands behind the header: the struct, the names, other data; extensions at the end. 0 or EINVAL. */
static int decode(struct state_op *op)
{
    const struct lane_request *r = op->r;
    const struct state_row *row = op->row;
    uint64_t extensions = 8u * (uint64_t)r->header.total_extlen;
    if (IN_HEAD + row->arg_bytes + extensions > r->in_len)
        return EINVAL;
    const uint8_t *at = r->in + IN_HEAD, *end = r->in + r->in_len - extensions;
    memset(op->args, 0, sizeof op->args);
    memcpy(op->args, at, row->arg_bytes);
    at += row->arg_bytes;
    op->tail = end;
    op->tail_bytes = (uint32_t)extensions;
    if (row->names > 0 && !take_name(&at, end, &op->name, &op->name_bytes))
        return EINVAL;
    if (row->names > 1 && !take_name(&at, end, &op->name2, &op->name2_bytes))
        return EINVAL;
    op->data = at;
    op->data_bytes = (uint32_t)(end - at);
    return 0;
}

/* A truncation of what is there already has a witness of its own, which only the interpreter makes. */
static bool declines(const struct state_op *op)
{
    uint32_t flags;
    if (op->row->kinds[EVENT_OPEN] < 0)
        return false;
    memcpy(&flags, op->args, sizeof flags);
    bool absent = op->row->witness == STATE_WITNESS_NAME && op->words_n == 2 && op->words[0] == 0 && op->words[1] == 0;
    return (flags & O_TRUNC) != 0 && !absent;
}

/* The operation failed after it had recorded something: the guest won't learn of it, so it ends again. */
static void give_back(struct state_lane *s, struct state_op *op)
{
    uint32_t n = op->records_n;
    for (uint32_t i = 0; i < n; i++) {
        struct handle_info info;
        uint64_t key = op->records[i].key;
        if (op->records[i].event == EVENT_ENTRY)
            state_forget(s, op, key, 1);
        else if (op->records[i].machine == MACHINE_HANDLE && table_handle_get(s->host, key, &info) == 0)
            state_drop(s, op, key, (int)info.kind);
    }
    records_hand_over(s, op, NULL, 0);
}

static void write_header(struct state_lane *s, const struct state_op *op)
{
    const struct lane_out_header out = {.len = op->reply_bytes, .error = 0, .unique = op->r->header.unique};
    memcpy(s->reply, &out, sizeof out);
}

static int run_steps(struct state_lane *s, struct state_op *op)
{
    const struct state_row *row = op->row;
    int error = 0;
    for (uint32_t i = 0; i < row->steps_n && error == 0; i++) {
        error = steps[row->steps[i]].run(s, op);
        CRASH_POINT(steps[row->steps[i]].name);
    }
    if (error == 0 && op->reply_bytes > op->r->dst_len) {
        s->counts[STATE_REPLY_LONG]++;
        error = EIO;
    }
    if (op->caller)
        step_act_as_daemon(s, op);
    host_let_go(s->host, &op->found, s->scan, op->entries);
    if (op->file >= 0)
        host_close(op->file);
    op->file = -1;
    if (error == 0) {
        write_header(s, op);
        if (row->flags & STATE_ROW_RECORDS_SESSION && op->records_n == 0)
            record_session(op);
        records_hand_over(s, op, s->reply, row->flags & STATE_ROW_KEEPS_REPLY ? op->reply_bytes : 0);
    } else if (op->records_n > 0) {
        give_back(s, op);
    }
    return error;
}

static void answer(struct state_lane *s, struct state_op *op, int error)
{
    struct lane_request *r = op->r;
    bool silent = op->row->flags & STATE_ROW_SILENT;
    uint32_t bytes = silent ? 0 : error != 0 ? OUT_HEAD : op->reply_bytes;
    if (r->executed != NULL)
        r->executed(r, error, bytes);
    r->error = error;
    r->reply_len = 0;
    if (silent)
        return;
    if (error != 0)
        lane_finish(r, error, 0);
    else if (lane_put(r, 0, s->reply, bytes))
        r->reply_len = bytes;
}

/* False: this one is the interpreter's; nothing was done. */
static bool run_one(struct state_lane *s, struct lane_request *r)
{
    struct state_op *op = &s->op;
    if (r->header.opcode >= STATE_OPCODES || (s->rows[r->header.opcode].flags & STATE_ROW_NAMED) == 0)
        return false;
    op->r = r;
    op->row = &s->rows[r->header.opcode];
    op->nodeid = r->header.nodeid;
    op->entries = 0;
    op->reply_bytes = 0;
    op->caller = false;
    int error = decode(op);
    uint32_t n = op->words_n = error == 0 ? state_witness_words(s, op, op->words) : 0;
    host_unpin(s->host); /* the witness' */
    if (error == 0 && declines(op))
        return false;
    if (r->witness != NULL)
        r->witness(r, op->words, n);
    if (r->dst_len < op->row->reply_bytes) {
        s->counts[STATE_NO_ROOM]++;
        error = EIO;
    }
    answer(s, op, error != 0 ? error : run_steps(s, op));
    return true;
}

void state_begin(struct state_lane *s)
{
    s->batch.n = 0;
    s->batch.text_bytes = 0;
    s->batch.commits_n = 0;
}

uint32_t state_run(struct state_lane *s, struct lane_request **requests, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!run_one(s, requests[i]))
            return i;
    return n;
}
