/* SPDX-License-Identifier: Apache-2.0
 *
 * One request on its way through a plan, as fuse/operation.py: its registers, and the transitions that it has caused.
 */
#ifndef STEADFS_STATE_OP_H
#define STEADFS_STATE_OP_H

#include "fuse/native/data_lane/lane_op.h"
#include "fuse/native/state_lane/state_lane.h"
#include "fuse/native/host/host_tables.h"

#define NUMBER_TEXT_BYTES 20u

struct text {
    char *at;
    size_t bytes;
    size_t room;
};

/* A transition of the present request: its text up to the comma before the reply. */
struct record {
    size_t from;
    size_t bytes;
    uint64_t key;
    uint8_t machine; /* enum state_machine */
    uint8_t event;   /* enum state_event */
};

struct state_op {
    const struct record_texts *texts;
    struct lane_request *r;
    const struct state_row *row;
    uint8_t args[96]; /* the argument struct */
    const char *name;
    const char *name2;
    uint32_t name_bytes;
    uint32_t name2_bytes;
    bool listed;         /* `name` is that of an entry of a listing, which the request doesn't tell */
    const uint8_t *data; /* behind struct and names */
    uint32_t data_bytes;
    const uint8_t *tail; /* extensions */
    uint32_t tail_bytes;
    uint64_t words[LANE_WITNESS_WORDS]; /* its witness */
    uint32_t words_n;
    uint64_t nodeid;
    uint64_t fh;
    int node, dir, newdir, old, handle; /* pinned until host_let_go */
    int file;                           /* ours until a table takes it, or -1 */
    bool caller;                        /* the thread acts as the guest's process */
    struct found found;
    uint32_t entries;
    uint32_t reply_bytes;
    struct text text; /* of its records */
    struct record *records;
    uint32_t records_n;
    uint32_t records_room;
};

struct state_lane {
    struct host *host;
    struct state_config config;
    struct state_op op;
    struct state_batch batch;
    state_commit_fn *commit;
    void *journal;
    uint64_t *noted;
    uint8_t *reply; /* STATE_REPLY_BYTES_MAX */
    struct scan_entry *scan;
    uint64_t counts[STATE_COUNTS];
    struct state_row rows[STATE_OPCODES];
};

/* 0 or a positive errno. */
typedef int state_step_fn(struct state_lane *s, struct state_op *op);

/* The argument struct of an operation, copied. */
#define STATE_ARG(op, type) \
    ({ \
        struct type arg_; \
        _Static_assert(sizeof arg_ <= sizeof (op)->args, "args"); \
        memcpy(&arg_, (op)->args, sizeof arg_); \
        arg_; \
    })

static inline int positive(int rc)
{
    return rc < 0 ? -rc : 0;
}

/* state_text.c. Memory that can't be had aborts the process: effects may have happened that no one would know of, and a
 * successor finds out. */
void *state_grown(void *old, size_t bytes);
void text_put(struct text *t, const char *from, size_t bytes);
void text_string(struct text *t, const char *string);
void text_number(struct text *t, uint64_t number);
/* A file name as JSON: a string where it is UTF-8, else an object with its bytes in hexadecimal (fuse.executor.ready.name_text). */
void text_name(struct text *t, const char *name, uint32_t bytes);
void text_base64(struct text *t, const uint8_t *from, size_t bytes);

/* state_records.c, as fuse/session/record.py. */
void record_inode_put(struct state_op *op, uint64_t nodeid, const char *record);
void record_inode_add(struct state_op *op, uint64_t nodeid);
void record_inode_unnamed(struct state_op *op, uint64_t nodeid, int fd);
void record_inode_forget(struct state_op *op, uint64_t nodeid, uint64_t nlookup);
void record_inode_forget_last(struct state_op *op, uint64_t nodeid);
void record_handle_put(struct state_op *op, uint64_t fh, int kind, uint64_t nodeid, uint32_t flags, int fd);
void record_handle_delete(struct state_op *op, uint64_t fh, const struct handle_info *last);
void record_mount_put(struct state_op *op, uint64_t mnt_id, int fd);
void record_mount_delete(struct state_op *op, uint64_t mnt_id);
void record_session(struct state_op *op);
/* Moves the records into the batch; the first one carries the kept reply (0 bytes: none). */
void records_hand_over(struct state_lane *s, struct state_op *op, const uint8_t *reply, size_t reply_bytes);

/* state_steps.c and its neighbours. */
int state_intern(struct state_lane *s, struct state_op *op, struct found *f, uint64_t *nodeid);
void state_forget(struct state_lane *s, struct state_op *op, uint64_t nodeid, uint64_t nlookup);
/* 0 where the name is one component, neither '.' nor '..'; else EINVAL or ENAMETOOLONG. */
int state_component_error(const char *name, uint32_t bytes);
int state_drop(struct state_lane *s, struct state_op *op, uint64_t fh, int kind);
uint32_t state_entry_out(const struct state_lane *s, uint8_t *to, uint64_t nodeid, const struct wire_attr *attr);

state_step_fn step_node, step_dir_node, step_new_dir_node, step_old_node, step_directory_handle, step_handle_room, step_entry_room,
    step_check_name, step_check_new_name, step_check_target, step_act_as_caller, step_act_as_daemon, step_mkdirat,
<<<<<<< HEAD
    step_mknodat, step_symlinkat, step_linkat, step_unlinkat, step_rmdirat, step_renameat2, step_create_file,
    step_open_tmpfile, step_open_found, step_open_created, step_found_of_file, step_intern, step_open_node, step_open_existing,
=======
    step_mknodat, step_symlinkat, step_linkat, step_unlinkat, step_rmdirat, step_renameat2, step_watch_name, step_watch_new_name, step_keep_unnamed, step_create_file,
    step_open_tmpfile, step_open_found, step_found_of_file, step_intern, step_open_node, step_open_existing,
>>>>>>> refs/heads/fds
    step_open_directory, step_add_file, step_add_directory, step_drop_file, step_drop_directory, step_forget_one,
    step_forget_many, step_read_found, step_intern_all, step_reply_empty, step_reply_entry, step_reply_open,
    step_reply_create, step_reply_direntplus, step_refuse_readonly;

/* state_replies.c: words to be stored before the operation begins; returns how many. */
uint32_t state_witness_words(struct state_lane *s, struct state_op *op, uint64_t *words);

#endif
