/* SPDX-License-Identifier: Apache-2.0
 * The thread of a running vring: pop, decide the lane, execute, publish; then poll for a while, then sleep.
 */
#include "engine.h"
#include "thread.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* As KVM's halt polling: the span starts here, doubles while sleeps turn out short, and falls to 0 when one was longer
 * than the limit. */
#define POLL_NS_START 10000u
#define SPINS_PER_CLOCK 32u
/* A vring without a kick fd is looked at this often: 1 ms is a tick of the guest, and 1000 wake-ups a second cost little. */
#define NO_KICK_POLL_MS 1

static void flush(struct vring *v)
{
    if (v->batch_n == 0)
        return;
    vring_publish(v, v->batch, v->batch_n);
    v->batch_n = 0;
    v->batch_bytes = 0;
    vring_signal(v, false);
}

static void finish(struct vring *v, struct request *r)
{
    v->batch[v->batch_n++] = r;
    v->batch_bytes += r->lane.in_total + (uint64_t)r->lane.reply_len;
    if (v->batch_n == VRING_BATCH || v->batch_bytes >= VRING_BATCH_BYTES)
        flush(v);
}

static void count_fault(struct vring *v, enum chain_fault fault)
{
    struct vring_counters *c = &v->counters;
    uint64_t *const by_fault[] = {
        [CHAIN_RANGE] = &c->malformed_range, [CHAIN_LOOP] = &c->malformed_loop,
        [CHAIN_ORDER] = &c->malformed_order, [CHAIN_ZERO] = &c->malformed_zero,
        [CHAIN_INDIRECT] = &c->malformed_indirect, [CHAIN_LONG] = &c->malformed_long,
        [CHAIN_SHORT] = &c->malformed_short,
    };
    count(by_fault[fault], 1);
}

/* Before any effect: the slot, then the in-flight entry. An entry in flight always finds its slot popped. */
static void track(struct vring *v, struct request *r)
{
    uint64_t counter = __atomic_fetch_add(&v->engine->counter, 1, __ATOMIC_RELAXED);
    if (r->slot != NULL) {
        struct slot identity = {
            .epoch = __atomic_load_n(&v->engine->epoch, __ATOMIC_RELAXED),
            .unique = r->lane.header.unique,
            .counter = counter,
            .opcode = r->lane.header.opcode,
            .queue = r->lane.queue,
            .head = r->lane.head,
        };
        slot_popped(r->slot, &identity);
    }
    inflight_fetched(&v->inflight, r->lane.head, counter);
}

static void run_data(struct vring *v, struct request *r)
{
    const struct lane_ops *ops = v->engine->config.ops;
    bool inline_only = v->engine->config.pool_threads == 0;
    count(&v->counters.data, 1);
    if (r->slot != NULL)
        slot_executing(r->slot, NULL, 0);
    if (ops->execute(ops->ctx, &r->lane, inline_only) == LANE_DONE) {
        finish(v, r);
    } else if (inline_only) {
        lane_finish(&r->lane, EIO, 0); /* it was told that it may block */
        finish(v, r);
    } else {
        count(&v->counters.blocked, 1);
        pool_push(&v->engine->pool, r);
    }
}

static void refuse(struct vring *v, struct request *r, int32_t error)
{
    lane_finish(&r->lane, error, 0);
    finish(v, r);
}

static void dispatch(struct vring *v, struct request *r, const struct lane_verdict *verdict)
{
    switch (verdict->kind) {
    case LANE_DATA:
        run_data(v, r);
        break;
    case LANE_STATE:
        count(&v->counters.state, 1);
        inbox_push(&v->engine->inbox, r);
        break;
    case LANE_REFUSE:
        count(&v->counters.refused, 1);
        refuse(v, r, verdict->error);
        break;
    case LANE_SILENT:
    default:
        count(&v->counters.silent, 1);
        finish(v, r);
        break;
    }
}

/* A chain that can't be a request: the guest gets its buffers back, with nothing written. */
static void give_back(struct vring *v, struct request *r, enum chain_fault fault)
{
    count_fault(v, fault);
    r->lane.reply_len = 0;
    r->lane.in_total = 0;
    r->lane.header = (struct lane_in_header){.len = 0};
    track(v, r);
    finish(v, r);
}

static void handle(struct vring *v, struct request *r)
{
    const struct lane_ops *ops = v->engine->config.ops;
    struct chain chain = {.iov = v->scratch};
    struct lane_verdict verdict = {.kind = LANE_REFUSE, .error = EIO, .head_bytes = 0};
    enum chain_fault fault = chain_walk(&v->table, r->lane.head, &chain);
    if (fault == CHAIN_OK)
        fault = request_begin(r, &chain);
    if (fault != CHAIN_OK) {
        give_back(v, r, fault);
        return;
    }
    ops->classify(ops->ctx, &r->lane.header, r->lane.in_total, &verdict);
    int error = request_fill(r, &chain, verdict.head_bytes);
    track(v, r);
    if (error == 0) {
        dispatch(v, r, &verdict);
        return;
    }
    count(error == E2BIG ? &v->counters.oversize : &v->counters.no_memory, 1);
    refuse(v, r, error);
}

static bool stopping(const struct vring *v)
{
    return __atomic_load_n(&v->stop, __ATOMIC_ACQUIRE);
}

static bool disturbed(const struct vring *v)
{
    return stopping(v) || __atomic_load_n(&v->kick_generation, __ATOMIC_ACQUIRE) != v->kick_seen;
}

static bool is_broken(const struct vring *v)
{
    return __atomic_load_n(&v->broken, __ATOMIC_RELAXED) != VRING_SOUND;
}

/* Everything that stands in the ring. A guest that keeps it full keeps us here, which is what it pays for. */
static void drain(struct vring *v)
{
    while (!disturbed(v) && vring_available(v) > 0) {
        struct request *r = vring_next(v);
        if (r == NULL)
            break;
        handle(v, r);
    }
    flush(v);
}

static bool spin(struct vring *v, uint64_t until_ns)
{
    do {
        for (uint32_t i = 0; i < SPINS_PER_CLOCK; i++) {
            if (vring_avail_idx(v) != v->last_avail)
                return true;
            thread_relax();
        }
    } while (!disturbed(v) && thread_now_ns() < until_ns);
    return false;
}

static void adapt(struct vring *v, uint64_t idle_ns)
{
    uint64_t max = v->engine->config.poll_ns_max;
    if (idle_ns > max)
        v->poll_ns = 0;
    else if (idle_ns > v->poll_ns)
        v->poll_ns = v->poll_ns == 0 ? POLL_NS_START : v->poll_ns * 2;
    if (v->poll_ns > max)
        v->poll_ns = max;
}

/* Whether it is an eventfd that works. */
static bool empty_eventfd(int fd)
{
    uint64_t value;
    ssize_t got = read(fd, &value, sizeof value);
    return got == (ssize_t)sizeof value || (got < 0 && errno == EAGAIN);
}

/* Sleeps until a kick (returns true), a wake-up by the control side, or the timer of a vring without kick. */
static bool sleep_until_kick(struct vring *v, int *kick_fd)
{
    struct pollfd fds[2] = {{.fd = v->wake_fd, .events = POLLIN}, {.fd = *kick_fd, .events = POLLIN}};
    int timeout_ms = is_broken(v) || *kick_fd >= 0 ? -1 : NO_KICK_POLL_MS;
    nfds_t n = is_broken(v) || *kick_fd < 0 ? 1 : 2;
    count(&v->counters.sleeps, 1);
    if (poll(fds, n, timeout_ms) < 0)
        return false;
    if (fds[0].revents != 0)
        empty_eventfd(v->wake_fd);
    if (n < 2 || fds[1].revents == 0)
        return false;
    if (!(fds[1].revents & POLLIN) || !empty_eventfd(*kick_fd)) {
        count(&v->counters.kick_errors, 1); /* hung up, closed, or no eventfd: it would make us spin */
        *kick_fd = -1;
        return false;
    }
    count(&v->counters.kicks, 1);
    return true;
}

static void idle(struct vring *v, int *kick_fd)
{
    uint64_t max = v->engine->config.poll_ns_max;
    uint64_t since = max > 0 ? thread_now_ns() : 0;
    if (!is_broken(v)) {
        if (v->poll_ns > 0 && spin(v, since + v->poll_ns)) {
            count(&v->counters.polled, 1);
            return;
        }
        if (disturbed(v))
            return;
        if (vring_arm(v)) {
            vring_disarm(v);
            return;
        }
    }
    bool kicked = sleep_until_kick(v, kick_fd);
    if (!is_broken(v))
        vring_disarm(v);
    if (kicked && max > 0)
        adapt(v, thread_now_ns() - since);
}

/* Takes over a new kick fd; from here on the old one is let go. */
static void look_at_control(struct vring *v, int *kick_fd)
{
    pthread_mutex_lock(&v->control_lock);
    *kick_fd = v->kick_fd;
    v->kick_seen = v->kick_generation;
    pthread_cond_broadcast(&v->control_cond);
    pthread_mutex_unlock(&v->control_lock);
}

void *queue_main(void *argument)
{
    struct vring *v = argument;
    int kick_fd = -1;
    look_at_control(v, &kick_fd);
    while (!stopping(v)) {
        if (__atomic_load_n(&v->kick_generation, __ATOMIC_ACQUIRE) != v->kick_seen)
            look_at_control(v, &kick_fd);
        if (!is_broken(v))
            drain(v);
        if (!disturbed(v))
            idle(v, &kick_fd);
    }
    if (!is_broken(v))
        vring_arm(v); /* a guest that kicks while we are paused loses nothing: the count stays in the eventfd */
    pthread_mutex_lock(&v->control_lock);
    v->thread_ended = true;
    pthread_cond_broadcast(&v->control_cond);
    pthread_mutex_unlock(&v->control_lock);
    return NULL;
}
