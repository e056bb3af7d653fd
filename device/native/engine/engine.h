/* SPDX-License-Identifier: Apache-2.0
 * The engine: guest memory, vrings with their threads, pool, inbox. Control functions are called by one thread (the
 * interpreter's); they return 0 or a positive value, or a negative errno:
 *   EPROTO, EFAULT, E2BIG  the VMM's or guest's value is refused
 *   EINVAL, EBUSY, ENOENT  the caller's mistake
 *   ETIMEDOUT              the deadline passed; call again
 *   others                 the machine's
 *
 * fds: the caller owns every fd it passes in. Regions, the in-flight region and the slots file are mapped during the call;
 * kick, call and err fds are used until they are replaced (the call that replaces returns) or the engine is freed.
 */
#ifndef STEADFS_ENGINE_H
#define STEADFS_ENGINE_H

#include "device/native/engine/inbox.h"
#include "device/native/engine/poller.h"
#include "device/native/engine/pool.h"

/* cdef begin */
/* hiprio and 63 request queues: more than a guest of today makes (one per CPU), and few threads. */
#define ENGINE_QUEUES_MAX 64u

struct engine_config {
    uint32_t queues; /* with hiprio */
    uint32_t pool_threads; /* 0: what would block runs in the queue thread */
    uint64_t poll_ns_max;  /* 0: no polling */
    uint64_t again_ns;     /* after which a used element that the guest hasn't looked at is signalled again; 0: never */
    const struct lane_ops *ops; /* outlives the engine */
};
/* cdef end */

struct engine {
    struct engine_config config;
    struct memory *memory;
    struct vring *vrings;
    struct pool pool;
    struct inbox inbox;
    struct poller poller;
    uint64_t epoch;   /* atomic */
    uint64_t counter; /* atomic: pops of all queues */
    void *inflight_map;
    size_t inflight_map_bytes;
    uint8_t *inflight;
    uint32_t inflight_queues;
    uint32_t inflight_queue_size;
    void *slots_map;
    size_t slots_map_bytes;
    uint32_t slots_queues;
    uint32_t slots_per_queue;
};

/* cdef begin */
int engine_new(const struct engine_config *config, struct engine **out);
int engine_free(struct engine *e, uint64_t timeout_ns);
/* The descriptors that it has made itself. */
uint32_t engine_fds(struct engine *e, int32_t out[static ENGINE_QUEUES_MAX + 1]);

int engine_memory_set(struct engine *e, const struct memory_region_spec *specs, uint32_t n);
int engine_memory_add(struct engine *e, const struct memory_region_spec *spec);
int engine_memory_remove(struct engine *e, uint64_t gpa, uint64_t uva, uint64_t size);

int engine_inflight_set(struct engine *e, int fd, uint64_t bytes, uint64_t offset, uint32_t queues,
                        uint32_t queue_size);
int engine_slots_set(struct engine *e, int fd);
void engine_epoch_set(struct engine *e, uint64_t epoch);

int engine_vring_setup(struct engine *e, uint32_t queue, const struct vring_spec *spec);
int engine_kick_set(struct engine *e, uint32_t queue, int fd, uint64_t timeout_ns);
int engine_call_set(struct engine *e, uint32_t queue, int fd);
int engine_err_set(struct engine *e, uint32_t queue, int fd);
int engine_vring_start(struct engine *e, uint32_t queue);
/* `gone`: nobody will look at its replies any more, and what only waits to be executed is failed. */
int engine_vring_pause(struct engine *e, uint32_t queue, uint64_t timeout_ns, bool gone);
int engine_vring_base(struct engine *e, uint32_t queue);
int engine_vring_signal(struct engine *e, uint32_t queue);
int engine_vring_in_flight(struct engine *e, uint32_t queue);
int engine_vring_running(struct engine *e, uint32_t queue);
int engine_vring_broken(struct engine *e, uint32_t queue);
const char *vring_broken_name(int reason);

int engine_doorbell(struct engine *e);
/* Looks at the inbox and, for at most spin_ns, in place of sleeping queue threads at the rings (poller.c). 1: there is
 * something to take. 0: there is nothing, and the doorbell will ring. Not beside a control function: one thread calls all. */
int engine_wait(struct engine *e, uint64_t spin_ns);
/* For the n requests of a batch that the journal has: engine_committed, engine_publish, engine_wait and engine_take, into
 * the same array. Returns how many were taken, as engine_take; a guest that goes on at once needs no kick. */
int engine_turn(struct engine *e, struct lane_request **batch, uint32_t n, uint64_t spin_ns, uint32_t max);
/* What became of the requests of a call of engine_serve. */
struct engine_served {
    uint32_t taken;    /* now in `batch`, not published: the caller goes on with them */
    uint32_t executed; /* the first of those, which are executed */
    uint32_t published;
};
/* Takes batches, has `serve` execute and commit them, and publishes them, until nothing comes within spin_ns (then the
 * doorbell will ring for the next), about `enough` requests are published, or a batch is the caller's to finish. 0: nothing
 * came; 1: there may be more; or a negative errno. `batch` has room for `max`. */
int engine_serve(struct engine *e, const struct lane_serve *serve, struct lane_request **batch, uint32_t max,
                 uint64_t spin_ns, uint32_t enough, struct engine_served *served);
uint32_t engine_take(struct engine *e, struct lane_request **out, uint32_t max);
int engine_reply(struct lane_request *r, const char *message, uint32_t bytes);
int engine_executing(struct lane_request *r, const uint64_t *witness, uint32_t words);
/* Before engine_executed of a request that an earlier worker left: if that one had a result, it no longer counts. */
int engine_taken_up(struct lane_request *r);
int engine_executed(struct lane_request *r, int32_t error, uint32_t bytes);
/* engine_executed and engine_reply in one call: what the interpreter pays for is the calls. */
int engine_answer(struct lane_request *r, int32_t error, const char *message, uint32_t bytes);
int engine_committed(struct lane_request **batch, uint32_t n);
int engine_publish(struct engine *e, struct lane_request **batch, uint32_t n);

/* Recovery (recover.c): vrings set up with keep_inflight, not started. */
int engine_vring_used_idx(struct engine *e, uint32_t queue);
int engine_slot_scrubbed(struct engine *e, uint32_t queue, uint32_t head);
int engine_vring_ring(struct engine *e, uint32_t queue, uint16_t *avail_idx, uint16_t *avail, uint16_t *used);
int engine_slot_died_with(struct engine *e, uint32_t queue, uint32_t head, uint32_t weight);
int engine_vring_peek(struct engine *e, uint32_t queue, uint32_t head, struct lane_in_header *out);
int engine_resubmit(struct engine *e, uint32_t queue, uint32_t head, int32_t error);
void engine_counter_raise(struct engine *e, uint64_t counter);
int engine_vring_rebase(struct engine *e, uint32_t queue, uint16_t base);
int engine_vring_settle(struct engine *e, uint32_t queue);

int engine_counters(struct engine *e, uint32_t queue, struct vring_counters *out);
/* cdef end */

/* No queue thread, nothing in flight. */
bool engine_quiesced(struct engine *e);
/* Ends the queue thread, without waiting for the pool. -ETIMEDOUT: call it again. */
int control_stop_thread(struct vring *v, uint64_t deadline_ns);
/* The body of a queue thread. */
void *queue_main(void *vring);

#endif
