/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract between the ring side (device/native) and the file side (fuse/native).
 *
 * The two are separate extension modules that share no symbol. The ring side pops a request, checks every
 * descriptor, copies the head of the request once, and calls the two functions of a `struct lane_ops`; whoever
 * wires them hands the address of that structure across. Everything here is plain data and inline functions.
 *
 * A request belongs to one thread at a time: the queue's thread, then a pool thread or the interpreter, then
 * whoever publishes it. The iovecs point into guest memory, which the guest may change at any moment: what is
 * read from them twice may differ, so decisions are taken only on `in`, which is private.
 */
#ifndef STEADFS_LANE_H
#define STEADFS_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* cdef begin */
/* struct fuse_in_header and fuse_out_header, include/uapi/linux/fuse.h (7.45). */
struct lane_in_header {
    uint32_t len;
    uint32_t opcode;
    uint64_t unique;
    uint64_t nodeid;
    uint32_t uid;
    uint32_t gid;
    uint32_t pid;
    uint16_t total_extlen; /* in units of 8 bytes */
    uint16_t padding;
};
/* cdef end */
_Static_assert(sizeof(struct lane_in_header) == 40, "fuse_in_header");

struct lane_out_header {
    uint32_t len;
    int32_t error;
    uint64_t unique;
};
_Static_assert(sizeof(struct lane_out_header) == 16, "fuse_out_header");

/* cdef begin */
/* What one request may copy into private memory: a SETXATTR value (XATTR_SIZE_MAX, 64 KiB) or a BATCH_FORGET
 * of the largest request Linux builds, plus headers and two names. More is refused with E2BIG. */
#define LANE_IN_BYTES_MAX (128u * 1024u)
/* Descriptors of one chain, indirect ones included: 1 MiB in 4 KiB pages both ways, and heads. */
#define LANE_IOV_MAX 1024u
/* Words that an execution can leave for a process that finds it unfinished. */
#define LANE_WITNESS_WORDS 6u

enum lane_kind {
    LANE_DATA = 0,   /* no effect on device state: execute() in native threads, publish at once */
    LANE_STATE = 1,  /* has effects: given to the interpreter, published after the commit */
    LANE_REFUSE = 2, /* answered at once with `error` (ENOSYS, EIO before INIT, ...) */
    LANE_SILENT = 3  /* no reply by protocol (INTERRUPT): used with length 0 */
};

enum lane_result {
    LANE_DONE = 0, /* the reply stands in guest memory, its length in reply_len */
    LANE_BLOCK = 1 /* it would block: call execute() again in a pool thread with may_block */
};

struct lane_verdict {
    enum lane_kind kind;
    int32_t error;       /* positive errno, for LANE_REFUSE */
    uint32_t head_bytes; /* bytes wanted contiguous in `in`, header included; UINT32_MAX: all of the request */
};

struct lane_request {
    struct lane_in_header header; /* the only copy of the header that decisions may use */
    const uint8_t *in;            /* header and following bytes, private copy, in_len long */
    uint32_t in_len;
    uint32_t in_total;            /* device-readable bytes of the whole chain; >= in_len */
    struct iovec *src;            /* device-readable guest memory behind the first in_len bytes */
    uint32_t src_n;
    struct iovec *dst;            /* device-writable guest memory, first byte = first byte of the reply */
    uint32_t dst_n;
    uint64_t dst_len;             /* bytes of all dst iovecs */
    uint32_t reply_len;           /* bytes written to dst, for the used element */
    uint16_t queue;               /* vring index: 0 = hiprio */
    uint16_t head;                /* descriptor head index, the name of the request in its ring */
    int32_t error;                /* errno of the reply, 0 = success; for counters and slots */
    uint64_t progress;            /* bytes already done before LANE_BLOCK; the file side's own */
    bool at_once;                 /* who executes it serves all queues: not what a frozen file system may hold up */
    uint64_t popped_ns;           /* CLOCK_MONOTONIC; 0 when not measured */
    /* Stores at most LANE_WITNESS_WORDS words, instead of earlier ones: should this process die before the reply is
     * out, the next one finds them in `left`. NULL: nothing is kept. */
    void (*witness)(struct lane_request *request, const uint64_t *words, uint32_t n);
    /* Right after the effects, before the reply: positive errno, length of the reply. NULL: nothing is kept. */
    void (*executed)(struct lane_request *request, int32_t error, uint32_t bytes);
    uint64_t left[LANE_WITNESS_WORDS]; /* what a process that died while executing this request had stored */
    uint32_t left_n;                   /* 0: nothing */
};

struct lane_ops {
    void *ctx;
    /* Called once a request with only `header` and `in_total` set. Must not block. Any thread. */
    void (*classify)(void *ctx, const struct lane_in_header *header, uint32_t in_total, struct lane_verdict *verdict);
    /* Executes a LANE_DATA request and writes its reply. Never fails: errors are replies. Any thread. */
    enum lane_result (*execute)(void *ctx, struct lane_request *request, bool may_block);
};

/* Executes requests[0:n], stateful ones, in their order up to the first that is the interpreter's; returns how many. If those
 * are all, commits: then they may be published and `committed` is true. Their replies stand in guest memory. */
typedef uint32_t serve_run_fn(void *ctx, struct lane_request **requests, uint32_t n, bool *committed);

struct lane_serve {
    void *ctx;
    serve_run_fn *run;
};
/* cdef end */

/* Copies len bytes to the reply at byte offset `at`; returns false when dst is too short (nothing is written). */
static inline bool lane_put(const struct lane_request *r, uint64_t at, const void *from, size_t len)
{
    if (at > r->dst_len || len > r->dst_len - at)
        return false;
    const uint8_t *p = from;
    for (uint32_t i = 0; i < r->dst_n && len != 0; i++) {
        size_t have = r->dst[i].iov_len;
        if (at >= have) {
            at -= have;
            continue;
        }
        size_t n = have - at < len ? (size_t)(have - at) : len;
        memcpy((uint8_t *)r->dst[i].iov_base + at, p, n);
        p += n;
        len -= n;
        at = 0;
    }
    return true;
}

/* The reply's out header goes last: its length covers `body` bytes that already stand in dst behind it. */
static inline void lane_finish(struct lane_request *r, int32_t positive_errno, uint32_t body)
{
    struct lane_out_header out = {
        .len = (uint32_t)sizeof out + (positive_errno ? 0 : body),
        .error = -positive_errno,
        .unique = r->header.unique,
    };
    r->error = positive_errno;
    r->reply_len = lane_put(r, 0, &out, sizeof out) ? out.len : 0;
}

/* A reply whose body is one private buffer. A dst that is too short for it is the guest's fault: EIO, no body. */
static inline void lane_answer(struct lane_request *r, int32_t positive_errno, const void *body, uint32_t len)
{
    if (positive_errno == 0 && len != 0 && !lane_put(r, sizeof(struct lane_out_header), body, len))
        positive_errno = 5; /* EIO */
    lane_finish(r, positive_errno, len);
}

#endif
