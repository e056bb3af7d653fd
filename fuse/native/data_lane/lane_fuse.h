/* SPDX-License-Identifier: Apache-2.0
 *
 * The native lane: FUSE operations without effect on device state, behind struct lane_ops.
 *
 * Which opcode goes where is not known here: the interpreter hands in a table made from the specifications. Here
 * are only the executors, by name.
 */
#ifndef STEADFS_LANE_FUSE_H
#define STEADFS_LANE_FUSE_H

#include "fuse/native/host/hostcalls.h"
#include "specs/native/lane.h"

#include <stdatomic.h>

/* Opcodes of protocol 7.45 end at 53; CUSE's and greater ones are not served. */
#define LANE_OPCODES 64u

enum lane_op {
    OP_NONE = 0, /* not a data-lane row */
    OP_READ,
    OP_WRITE,
    OP_GETATTR,
    OP_STATX,
    OP_STATFS,
    OP_READDIR,
    OP_READLINK,
    OP_LSEEK,
    OP_FSYNC,
    OP_FSYNCDIR,
    OP_FLUSH,
    OP_ACCESS,
    OP_GETXATTR,
    OP_LISTXATTR,
    OP_FALLOCATE,
    OP_COPY_FILE_RANGE,
    OP_COPY_FILE_RANGE_64,
    OP_SYNCFS,
    OP_COUNT
};

enum lane_row_flag {
    ROW_BEFORE_INIT = 1, /* served before the session is ready (INIT) */
    ROW_NO_REPLY = 2     /* the protocol has no reply (FORGET): never refused, but silently dropped */
};

/* cdef begin */
struct lane_row {
    uint32_t kind; /* enum lane_kind */
    uint32_t op;   /* enum lane_op, for LANE_DATA */
    int32_t error; /* positive errno, for LANE_REFUSE */
    uint32_t in_min;     /* bytes of the smallest request, header included; smaller ones: EINVAL */
    uint32_t head_bytes; /* as in struct lane_verdict */
    uint32_t flags;      /* enum lane_row_flag */
};
/* cdef end */

/* An append that is being done, on the stack of the thread that does it. */
struct append_hold {
    uint64_t nodeid;
    struct append_hold *next;
};

/* Files that are being appended to, as few as there are threads. */
struct append_locks {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct append_hold *held;
};

struct lane_count {
    _Atomic uint64_t done; /* answered here, refusals included */
    _Atomic uint64_t errors;
};

struct lane {
    struct host *host;
    struct lane_ops ops; /* ctx = this lane */
    struct lane_row rows[LANE_OPCODES];
    _Atomic uint32_t session_ready;
    /* Set before the session is ready, constant while it is. */
    uint64_t attr_timeout_ns;
    uint32_t readonly;
    uint32_t writeback;
    uint32_t direct_io;
    struct lane_count counts[LANE_OPCODES];
    struct append_locks append_locks;
};

/* cdef begin */
struct lane *lane_new(struct host *host);
void lane_free(struct lane *lane);
/* enum lane_op of an executor's name in lower case, or -ENOENT. */
int lane_op_by_name(const char *name);
/* 0, or -EINVAL: opcode, kind or op out of range, or head_bytes below what the executor reads. */
int lane_set_row(struct lane *lane, uint32_t opcode, const struct lane_row *row);
/* direct_io: handles were opened with the guest's O_DIRECT. */
void lane_set_config(struct lane *lane, uint64_t attr_timeout_ns, int readonly, int writeback, int direct_io);
void lane_set_ready(struct lane *lane, int ready);
/* done and errors of an opcode below LANE_OPCODES. */
void lane_counts(struct lane *lane, uint32_t opcode, uint64_t *done, uint64_t *errors);
/* struct lane_ops, as a number that the composition root hands to the ring side. */
uint64_t lane_ops_address(struct lane *lane);
/* cdef end */

#endif
