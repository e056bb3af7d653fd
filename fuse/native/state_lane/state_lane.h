/* SPDX-License-Identifier: Apache-2.0
 *
 * The native executor of operations with effects: runs the plans of specs/fuse/opcodes.py as the reference executor in
 * Python does (fuse/executor/reference.py, fuse/steps), and writes the same transitions, byte for byte.
 *
 * It knows no opcode. The interpreter hands in a row for each that it may run: names of steps, the request's form in
 * the journal, what its transitions are counted as. A row with a step that is not known here stays with the
 * interpreter; so does one that truncates a file. One thread uses it, the interpreter's.
 */
#ifndef STEADFS_STATE_LANE_H
#define STEADFS_STATE_LANE_H

#include "fuse/native/host/hostcalls.h"
#include "specs/native/lane.h"
#include "specs/native/limits.h"

/* cdef begin */
#define STATE_STEPS_MAX 16u
#define STATE_OPCODES 64u
/* Numbers of the longest argument struct, fuse_setattr_in. */
#define STATE_NUMBERS_MAX 16u
/* And the header before it. */
#define STATE_REPLY_BYTES_MAX (LIMIT_READDIR_REPLY_MAX_BYTES + 16u)
/* Commits between two looks of the interpreter at them. */
#define STATE_COMMITS_MAX 256u
/* Transitions after which the interpreter commits, and then tidies: a READDIRPLUS makes a thousand, and a tail of 256 of those
 * would be a second's work for the next worker. */
#define STATE_TRANSITIONS_MAX 1024u
/* More names than this don't come with one READDIRPLUS; the guest asks again. */
#define STATE_SCAN_ENTRIES_MAX 1024u

enum state_event {
    EVENT_ENTRY,
    EVENT_UNNAMED,
    EVENT_FORGET,
    EVENT_FORGET_LAST,
    EVENT_OPEN,
    EVENT_OPENDIR,
    EVENT_RELEASE,
    EVENT_RELEASEDIR,
    EVENT_MEET,
    EVENT_LEAVE,
    EVENT_SESSION, /* the operation's own name */
    EVENT_COUNT
};

enum state_machine { MACHINE_INODE, MACHINE_HANDLE, MACHINE_MOUNT, MACHINE_SESSION };

enum state_witness {
    STATE_WITNESS_NONE,
    STATE_WITNESS_NAME,  /* who has the name */
    STATE_WITNESS_NAMES  /* who has both names */
};

enum state_row_flag {
    STATE_ROW_KEEPS_REPLY = 1,
    STATE_ROW_SILENT = 2,          /* the protocol has no reply */
    STATE_ROW_RECORDS_SESSION = 4, /* a success without a transition of its own is an event of the session */
    STATE_ROW_NAMED = 8            /* set here: the row may be run */
};

struct state_row {
    char name[24];
    char codes[STATE_NUMBERS_MAX + 1]; /* of the argument struct: 'I' or 'Q' for each number */
    uint32_t names;                    /* that follow it */
    uint32_t reply_bytes;              /* what a success writes at least */
    uint32_t flags;                    /* enum state_row_flag */
    uint32_t witness;                  /* enum state_witness */
    uint32_t steps_n;
    uint32_t steps[STATE_STEPS_MAX];   /* from state_step_by_name */
    int32_t kinds[EVENT_COUNT];        /* by event: the journal's number for such a transition; -1: it causes none */
    uint32_t arg_bytes;                /* set here */
};

/* What was negotiated and chosen. */
struct state_config {
    uint64_t valid_s; /* how long the guest may trust names and attributes */
    uint32_t valid_ns;
    uint32_t writeback;
    uint32_t allow_direct_io;
    uint32_t keep_dac;
    uint32_t mandatory; /* file handles */
    uint32_t readonly;
    uint32_t open_flags;    /* of fuse_open_out for files */
    uint32_t opendir_flags; /* for directories */
    uint32_t handles_max;
};

/* The commit of a batch, as journal/native/commit.h has it: 0, or anything else when nothing was written. */
typedef int state_commit_fn(void *ctx, const char *text, uint64_t bytes, uint32_t transitions);

/* Transitions since state_begin. The first ones may be committed already; of those only the text is gone. */
struct state_batch {
    char *text; /* JSON of those not committed, joined by commas */
    uint64_t text_bytes;
    uint64_t text_room;
    int32_t *kinds;
    uint8_t *machines; /* enum state_machine */
    uint64_t *keys;
    uint32_t n;
    uint32_t room;
    uint32_t commits_n;
    uint32_t ends[STATE_COMMITS_MAX];        /* how many transitions there were after each commit */
    uint64_t text_sizes[STATE_COMMITS_MAX];  /* bytes of each commit's text */
    uint64_t last_nodeid; /* the last numbers given; both only grow */
    uint64_t last_fh;
};

enum state_count {
    STATE_NO_ROOM,        /* no room for the reply */
    STATE_FORGET_UNKNOWN, /* forget of an unknown nodeid */
    STATE_FORGET_MORE,    /* forget of more lookups than were given */
    STATE_FORGET_SHORT,   /* batch of forgets shorter than it says */
    STATE_REPLY_LONG,     /* reply longer than the guest's buffers */
    STATE_COUNTS
};

struct state_lane;

/* NULL when out of memory. */
struct state_lane *state_new(struct host *host);
void state_free(struct state_lane *s);
/* The number of a step, or -ENOENT. */
int state_step_by_name(const char *name);
/* 0, or -EINVAL. */
int state_set_row(struct state_lane *s, uint32_t opcode, const struct state_row *row);
void state_set_config(struct state_lane *s, const struct state_config *config);
struct state_batch *state_batch_of(struct state_lane *s);
uint64_t state_counted(const struct state_lane *s, uint32_t count);
/* Empties the batch. */
void state_begin(struct state_lane *s);
/* Executes requests in their order up to the first that is the interpreter's; returns how many. Their replies stand in
 * guest memory; they are not published. The session must be ready. */
uint32_t state_run(struct state_lane *s, struct lane_request **requests, uint32_t n);

/* state_serve.c: what state_serve needs. `noted[0]` and `noted[1]` are where the last numbers given to inodes and handles are
 * stored before each commit, so that they are never given twice. */
void state_set_journal(struct state_lane *s, state_commit_fn *commit, void *ctx, uint64_t *noted);
/* `run` of struct lane_serve; `state_lane` is a struct state_lane. */
uint32_t state_serve(void *state_lane, struct lane_request **requests, uint32_t n, bool *committed);
/* cdef end */

#endif
