/* SPDX-License-Identifier: Apache-2.0
 * A split virtqueue (VIRTIO 1.2, 2.7), device side.
 *
 * Threads: whoever has the `pop_lock` pops: the queue thread unless it sleeps, else the interpreter's thread while it waits
 * (poller.c). Both of them and the pool threads publish, under `used_lock`; whoever published signals, under `call_lock`. A
 * vring is set up and freed only while none of them runs. Order of locks: control_lock is taken within pop_lock, no other
 * two of a vring's together.
 */
#ifndef STEADFS_VRING_H
#define STEADFS_VRING_H

#include "device/native/slots/inflight.h"
#include "device/native/rings/request.h"
#include "specs/native/limits.h"

#include <pthread.h>

/* cdef begin */
/* The most QEMU makes (VIRTQUEUE_MAX_SIZE); it bounds the memory of a vring's requests to 1.2 MiB. */
#define VRING_NUM_MAX LIMIT_QUEUE_SIZE_MAX_DESCRIPTORS
/* cdef end */
/* Finished data requests that wait for one signal; fewer when they carried much data. */
#define VRING_BATCH 16u
#define VRING_BATCH_BYTES (64u * 1024u)

#define VRING_USED_F_NO_NOTIFY 1u
#define VRING_AVAIL_F_NO_INTERRUPT 1u

/* Ring-level nonsense: the vring stops until it is set up again. */
enum vring_broken {
    VRING_SOUND = 0,
    VRING_BROKEN_AVAIL,    /* avail index moved by more than the ring's size */
    VRING_BROKEN_HEAD,     /* head outside of the descriptor table: it has no used element */
    VRING_BROKEN_DUPLICATE /* head is in flight already */
};

/* cdef begin */
struct vring_spec {
    uint32_t num;
    uint16_t base; /* next avail index */
    bool event_idx;
    bool indirect;
    bool keep_inflight;
    uint64_t desc; /* uva */
    uint64_t avail;
    uint64_t used;
};

/* Each is written by one thread at a time and read by anyone. */
struct vring_counters {
    uint64_t requests; /* popped, malformed ones included */
    uint64_t data;
    uint64_t state;
    uint64_t refused;
    uint64_t silent;
    uint64_t blocked; /* went on in the pool */
    uint64_t oversize; /* E2BIG: head above LANE_IN_BYTES_MAX */
    uint64_t no_memory;
    uint64_t malformed_range;
    uint64_t malformed_loop;
    uint64_t malformed_order;
    uint64_t malformed_zero;
    uint64_t malformed_indirect;
    uint64_t malformed_long;
    uint64_t malformed_short;
    uint64_t broken;
    uint64_t kicks;
    uint64_t kick_errors;
    uint64_t polled; /* work found while spinning */
    uint64_t sleeps;
    uint64_t published;
    uint64_t written_bytes; /* to guest memory, by used elements */
    uint64_t signals;
    uint64_t signals_suppressed;
    uint64_t signals_again; /* for used elements that the guest had not looked at (unseen.c) */
};
/* cdef end */

/* What the queue thread saw at its last look for used elements that nobody fetches (unseen.c). */
struct vring_watch {
    uint16_t used;
    uint16_t avail;
    uint16_t event;
    bool unseen;
    uint64_t wait_ns;    /* between this look and the next, if the guest still hasn't looked */
    uint64_t look_at_ns; /* 0: there is nothing to look for */
};

struct vring {
    /* --- constant while it runs */
    uint16_t index;
    uint16_t num; /* 0: not set up */
    bool event_idx;
    struct chain_table table;
    uint16_t *avail; /* flags, idx, ring[num], used_event; NULL: its memory went away */
    uint8_t *used;   /* u16 flags, u16 idx, {u32 id, u32 len}[num], u16 avail_event */
    struct request *requests; /* by head; made ready by vring_request, so that a guest's few take few pages */
    struct slot *slots;       /* by head; NULL: not tracked */
    struct vring_spec spec; /* as set up; its addresses are translated again when memory changed */
    struct engine *engine;

    /* --- popping, under pop_lock */
    pthread_mutex_t pop_lock __attribute__((aligned(64)));
    uint16_t last_avail;
    uint16_t avail_seen;
    uint32_t batch_n;
    uint64_t batch_bytes;
    uint64_t poll_ns; /* queue thread */
    uint64_t state_at_idle; /* its counters.state and .data when it last had nothing to do */
    uint64_t data_at_idle;
    struct vring_watch watch;
    bool by_consumer; /* who pops is not the queue's thread but the interpreter's, on which all queues depend */
    bool unrung; /* pushed into the inbox since the last inbox_pushed */
    struct request *batch[VRING_BATCH];
    struct iovec scratch[LANE_IOV_MAX];

    /* --- publication, under used_lock (used_idx is read without it) */
    pthread_mutex_t used_lock __attribute__((aligned(64)));
    uint16_t used_idx;
    uint16_t used_at_setup;
    struct inflight inflight;

    /* --- signals, under call_lock */
    pthread_mutex_t call_lock __attribute__((aligned(64)));
    int call_fd;
    int err_fd;
    uint16_t signalled;
    bool signalled_valid;

    /* --- control: thread_* and kick_* under control_lock, the flags are read without it */
    pthread_mutex_t control_lock __attribute__((aligned(64)));
    pthread_cond_t control_cond;
    pthread_t thread;
    bool thread_made;
    bool thread_ended;
    int kick_fd;
    uint32_t kick_generation; /* atomic */
    uint32_t kick_seen;
    int wake_fd;
    bool stop;        /* atomic; written under control_lock */
    bool untimed;     /* atomic: the thread sleeps until it is woken up, and whoever signals does that */
    uint8_t broken;   /* atomic, enum vring_broken */
    uint32_t in_flight; /* atomic: popped and not published */
    uint32_t in_pool;   /* under the pool's lock */
    bool to_signal;     /* the interpreter's, during one engine_publish */
    uint64_t state_seen;  /* the poller's: counters.state at its last look ... */
    uint32_t waits_quiet; /* ... and how many looks it hasn't moved for */

    struct vring_counters counters __attribute__((aligned(64)));
};

static inline void count(uint64_t *counter, uint64_t more)
{
    __atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED); /* one writer at a time */
}

static inline uint16_t vring_avail_idx(const struct vring *v)
{
    return __atomic_load_n(&v->avail[1], __ATOMIC_ACQUIRE);
}

/* Checks the spec and points the ring at guest memory. -EPROTO, -EFAULT, -ENOMEM: then it is as before. */
int vring_setup(struct vring *v, const struct vring_spec *spec, const struct memory *memory);
/* Translates the ring's addresses anew. On failure the ring has no memory (avail == NULL). */
void vring_remap(struct vring *v, const struct memory *memory);
/* The request of a head (below num) that is free. */
struct request *vring_request(struct vring *v, uint16_t head);
/* Where an idle vring goes on. */
void vring_rebase(struct vring *v, uint16_t base);
/* Frees the requests: nothing may be in flight any more, or nothing of it will ever be published. */
void vring_clear(struct vring *v);

static inline bool vring_stopping(const struct vring *v)
{
    return __atomic_load_n(&v->stop, __ATOMIC_ACQUIRE);
}

static inline bool vring_is_broken(const struct vring *v)
{
    return __atomic_load_n(&v->broken, __ATOMIC_RELAXED) != VRING_SOUND;
}

/* How many chains stand in the ring; 0 also when the index makes no sense: then the vring is broken. */
uint16_t vring_available(struct vring *v);
/* The next chain, of which vring_available said that there is one. NULL: the vring broke. The owner becomes POPPED. */
struct request *vring_next(struct vring *v);
void vring_break(struct vring *v, enum vring_broken why);

/* Asks for a kick; returns whether there is work already. Nobody lets go of the pop lock of a sound vring without: either
 * it returned false after the last pop, or the queue thread is woken up after the lock was let go. */
bool vring_arm(struct vring *v);
/* Asks for none, until vring_arm. A hint: a kick may come all the same. */
void vring_disarm(struct vring *v);

/* Used elements for n requests of this vring, their slots and in-flight entries; then they are free. */
void vring_publish(struct vring *v, struct request *const *batch, uint32_t n);
/* Whether the guest has used elements that it has not looked at, as far as the ring tells: by used_event, which it moves
 * on as it looks (then *event is that); without EVENT_IDX all that is known is that it wants to be interrupted. */
bool vring_unseen(struct vring *v, uint16_t *event);
/* Has the queue thread look at its ring and at what control wants. */
void vring_wake(struct vring *v);
/* Signals the guest when it asked for it, once for all published since the last time; `always`: in any case. */
void vring_signal(struct vring *v, bool always);

#endif
