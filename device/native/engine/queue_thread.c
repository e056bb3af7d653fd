/* SPDX-License-Identifier: Apache-2.0
 * The thread of a running vring: pops all there is, then polls for a while, then sleeps. It has the pop lock all the time
 * but while it sleeps: then the interpreter's thread may look at the ring in its place (poller.c).
 */
#include "device/native/engine/engine.h"
#include "device/native/engine/pop.h"
#include "device/native/engine/unseen.h"
#include "device/native/os/thread.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* As KVM's halt polling: the span starts here, doubles while sleeps turn out short, and falls to 0 when one was longer
 * than the limit. */
#define POLL_NS_START 10000u
#define SPINS_PER_CLOCK 32u
/* A vring without a kick fd is looked at this often: 1 ms is a tick of the guest, and 1000 wake-ups a second cost little. */
#define NO_KICK_POLL_MS 1

static bool disturbed(const struct vring *v)
{
    return vring_stopping(v) || __atomic_load_n(&v->kick_generation, __ATOMIC_ACQUIRE) != v->kick_seen;
}

/* Everything that stands in the ring. A guest that keeps it full keeps us here, which is what it pays for. */
static void drain(struct vring *v)
{
    while (!disturbed(v) && vring_available(v) > 0 && pop_one(v))
        ;
    pop_flush(v);
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

/* Sleeps until a kick (returns true), a wake-up by control side, poller or publisher, or a timer: of a vring without kick, or
 * for what the guest may not have seen. */
static bool sleep_until_kick(struct vring *v, int *kick_fd)
{
    struct pollfd fds[2] = {{.fd = v->wake_fd, .events = POLLIN}, {.fd = *kick_fd, .events = POLLIN}};
    int timeout_ms = unseen_timeout_ms(v);
    if (!vring_is_broken(v) && *kick_fd < 0)
        timeout_ms = NO_KICK_POLL_MS;
    nfds_t n = vring_is_broken(v) || *kick_fd < 0 ? 1 : 2;
    count(&v->counters.sleeps, 1);
    /* The interpreter wakes up on this core, perhaps, and first of all wants the lock: without it, it could not look at the
     * ring, and the guest would have to kick for each request. */
    bool unrung = v->unrung;
    v->unrung = false;
    pthread_mutex_unlock(&v->pop_lock);
    if (unrung)
        inbox_pushed(&v->engine->inbox);
    int woken = poll(fds, n, timeout_ms);
    pthread_mutex_lock(&v->pop_lock);
    unseen_woke(v);
    if (woken < 0)
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

/* All that was popped since the thread last had nothing to do went to the interpreter. It looks at the ring itself when it
 * has answered (poller.c): polling here would only take a core from it, or from the guest, until then. */
static bool left_to_the_interpreter(struct vring *v)
{
    uint64_t state = v->counters.state, data = v->counters.data;
    bool left = state != v->state_at_idle && data == v->data_at_idle;
    v->state_at_idle = state;
    v->data_at_idle = data;
    return left;
}

static void idle(struct vring *v, int *kick_fd)
{
    bool polls = !left_to_the_interpreter(v);
    uint64_t max = polls ? v->engine->config.poll_ns_max : 0;
    uint64_t since = max > 0 ? thread_now_ns() : 0;
    if (polls)
        pop_ring(v);
    if (!vring_is_broken(v)) {
        if (polls && v->poll_ns > 0 && spin(v, since + v->poll_ns)) {
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
    if (!vring_is_broken(v))
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

/* Whether it is to end, for good: the control side may have thought better of a stop that took long, and start a vring whose
 * thread still is. One lock decides which of both it was. */
static bool ends(struct vring *v)
{
    pthread_mutex_lock(&v->control_lock);
    v->thread_ended = vring_stopping(v);
    if (v->thread_ended)
        pthread_cond_broadcast(&v->control_cond);
    pthread_mutex_unlock(&v->control_lock);
    return v->thread_ended;
}

static void serve(struct vring *v, int *kick_fd)
{
    while (!vring_stopping(v)) {
        if (__atomic_load_n(&v->kick_generation, __ATOMIC_ACQUIRE) != v->kick_seen)
            look_at_control(v, kick_fd);
        if (!vring_is_broken(v))
            drain(v);
        if (!disturbed(v))
            idle(v, kick_fd);
        pop_ring(v);
    }
    if (!vring_is_broken(v))
        vring_arm(v); /* a guest that kicks while we are paused loses nothing: the count stays in the eventfd */
}

void *queue_main(void *argument)
{
    struct vring *v = argument;
    int kick_fd = -1;
    look_at_control(v, &kick_fd);
    pthread_mutex_lock(&v->pop_lock);
    unseen_begin(v);
    do
        serve(v, &kick_fd);
    while (!ends(v));
    pthread_mutex_unlock(&v->pop_lock);
    return NULL;
}
