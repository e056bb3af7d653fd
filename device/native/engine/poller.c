/* SPDX-License-Identifier: Apache-2.0
 * The consumer of stateful requests looks at the rings itself, for a moment, before it sleeps: a guest that answers soon
 * then costs no wake-up, neither of the queue thread nor of the consumer, and needs no kick.
 *
 * Whose turn it is: the pop lock. A queue thread has it but while it sleeps; only try-locked here, so a ring whose thread is
 * at work stays with it. Data requests never wait for the interpreter: before engine_turn returns, all rings are armed and
 * unlocked, and before something of a request queue is executed, all rings but its own. (hiprio carries no data, unless the
 * guest means harm to itself.)
 *
 * No kick is lost. The guest stores the avail index, then (a fence between) looks whether a kick is wanted; we ask for kicks,
 * then (the fence of vring_arm between) look at the index once more. One of both sees the other: either the guest kicks,
 * which the eventfd keeps until the queue thread reads it, or we see the request and serve it, or wake the thread up for it.
 * A thread that was kicked meanwhile waits for the pop lock, and looks at the ring when it has it. So what is offered before
 * the lock is let go is seen by the last look or by the thread, and what is offered after it is kicked for.
 */
#include "device/native/engine/poller.h"
#include "device/native/engine/engine.h"
#include "device/native/engine/pop.h"
#include "device/native/os/thread.h"

/* A look at the clock costs as much as some looks at the rings. */
#define SPINS_PER_CLOCK 32u
/* Spins of 1, 1/2, 1/4, 1/8 of the length, then none. */
#define HALVINGS_MAX 4u
/* What a request that was slept for needs longer to come here: a kick, two wake-ups, the interpreter's loop. */
#define WAKING_NS 50000u
/* Waits without a stateful request in a ring after which it is left to its thread until the next one. */
#define WAITS_QUIET_MAX 64u

/* The guest waits for nothing that it sends here (FORGET), but often sends something else right behind it, which then comes
 * into the same batch. */
#define HIPRIO 0u
#define LINGER_NS 4000u

struct held {
    struct vring *rings[ENGINE_QUEUES_MAX];
    uint32_t n;
};

static bool worth_it(struct vring *v)
{
    if (!v->thread_made || vring_stopping(v) || vring_is_broken(v))
        return false;
    uint64_t state = __atomic_load_n(&v->counters.state, __ATOMIC_RELAXED);
    if (state != v->state_seen)
        v->waits_quiet = 0;
    else if (v->waits_quiet < WAITS_QUIET_MAX)
        v->waits_quiet++;
    v->state_seen = state;
    return v->waits_quiet < WAITS_QUIET_MAX;
}

static void hold(struct engine *e, struct held *held)
{
    held->n = 0;
    for (uint32_t i = 0; i < e->config.queues; i++) {
        struct vring *v = &e->vrings[i];
        if (!worth_it(v) || pthread_mutex_trylock(&v->pop_lock) != 0)
            continue;
        vring_disarm(v);
        held->rings[held->n++] = v;
    }
}

static void let_go(struct vring *v)
{
    bool rest = !vring_is_broken(v) && vring_arm(v);
    pthread_mutex_unlock(&v->pop_lock);
    if (rest)
        vring_wake(v);
}

/* The first ring that has something; NULL when the inbox has more than `known`, or at the end of the time. */
static struct vring *watch(const struct engine *e, const struct held *held, uint32_t known, uint64_t until_ns)
{
    do {
        for (uint32_t i = 0; i < SPINS_PER_CLOCK; i++) {
            if (inbox_count(&e->inbox) != known)
                return NULL;
            for (uint32_t k = 0; k < held->n; k++)
                if (vring_avail_idx(held->rings[k]) != held->rings[k]->last_avail)
                    return held->rings[k];
            thread_relax();
        }
    } while (thread_now_ns() < until_ns);
    return NULL;
}

static void let_all_go(struct held *held)
{
    for (uint32_t k = 0; k < held->n; k++)
        let_go(held->rings[k]);
    held->n = 0;
}

static void keep_only(struct held *held, struct vring *v)
{
    for (uint32_t k = 0; k < held->n; k++)
        if (held->rings[k] != v)
            let_go(held->rings[k]);
    held->rings[0] = v;
    held->n = 1;
}

/* At most a ring full, and no data request more once the interpreter has something to do. False: it has, or the ring
 * broke; what is left is its thread's. */
static bool drain(struct engine *e, struct vring *v)
{
    uint64_t data = v->counters.data;
    bool more = true;
    count(&v->counters.polled, 1);
    v->by_consumer = true;
    for (uint32_t n = 0; more && n < v->num && vring_available(v) > 0; n++)
        more = (v->counters.data == data || !inbox_has_some(&e->inbox)) && pop_one(v);
    v->by_consumer = false;
    pop_flush(v);
    v->unrung = false; /* this is the consumer */
    return more && !vring_is_broken(v);
}

/* Looks at the rings that are held, which it lets go. Whether there is something for the interpreter. */
static bool spin(struct engine *e, struct held *held, uint64_t spin_ns)
{
    struct vring *v;
    uint64_t now_ns = thread_now_ns(), until_ns = now_ns + spin_ns;
    uint32_t known = 0;
    bool more = true;
    while (more && now_ns < until_ns && (v = watch(e, held, known, until_ns)) != NULL) {
        bool hiprio = v->index == HIPRIO;
        if (!hiprio)
            keep_only(held, v);
        more = drain(e, v);
        now_ns = thread_now_ns();
        if (inbox_count(&e->inbox) != known) {
            known = inbox_count(&e->inbox);
            more = more && hiprio;
            until_ns = now_ns + LINGER_NS < until_ns ? now_ns + LINGER_NS : until_ns;
        } else if (!hiprio) {
            let_all_go(held);
            hold(e, held);
        }
    }
    let_all_go(held);
    return inbox_has_some(&e->inbox);
}

/* Something was taken: ends the sleep, if there was one. */
static void woke(struct poller *p)
{
    if (p->asleep_since_ns == 0)
        return;
    bool longer_would_do = thread_now_ns() - p->asleep_since_ns <= p->spin_ns + WAKING_NS;
    p->asleep_since_ns = 0;
    if (longer_would_do)
        p->halvings -= p->halvings > 0;
    else
        p->halvings += p->halvings < HALVINGS_MAX;
}

uint32_t engine_take(struct engine *e, struct lane_request **out, uint32_t max)
{
    uint32_t n = inbox_take(&e->inbox, out, max);
    if (n > 0)
        woke(&e->poller);
    return n;
}

/* Spins if that has been worth it lately. False: there is nothing to take, and the doorbell will ring. */
static bool wait_for_some(struct engine *e, struct held *held, bool fresh, uint64_t spin_ns)
{
    struct poller *p = &e->poller;
    bool some = inbox_has_some(&e->inbox);
    if (!some && fresh && p->halvings < HALVINGS_MAX && spin(e, held, spin_ns >> p->halvings)) {
        p->halvings = 0;
        return true;
    }
    let_all_go(held);
    if (some || !inbox_arm(&e->inbox))
        return true;
    if (fresh) {
        p->asleep_since_ns = thread_now_ns();
        p->spin_ns = spin_ns;
    }
    return false;
}

/* Woken for something else, the consumer goes on with its sleep. */
static bool begin_wait(struct engine *e, struct held *held, uint64_t spin_ns)
{
    bool fresh = spin_ns > 0 && e->poller.asleep_since_ns == 0;
    held->n = 0;
    if (fresh && e->poller.halvings < HALVINGS_MAX)
        hold(e, held);
    return fresh;
}

int engine_wait(struct engine *e, uint64_t spin_ns)
{
    struct held held;
    bool fresh = begin_wait(e, &held, spin_ns);
    return wait_for_some(e, &held, fresh, spin_ns);
}

static int committed_and_published(struct engine *e, struct lane_request **batch, uint32_t n)
{
    int rc = n > 0 ? engine_committed(batch, n) : 0;
    return rc == 0 && n > 0 ? engine_publish(e, batch, n) : rc;
}

int engine_turn(struct engine *e, struct lane_request **batch, uint32_t n, uint64_t spin_ns, uint32_t max)
{
    struct held held;
    /* Before the replies are out: a guest that goes on at once finds that no kick is wanted. */
    bool fresh = begin_wait(e, &held, spin_ns);
    int rc = committed_and_published(e, batch, n);
    if (rc < 0) {
        let_all_go(&held);
        return rc;
    }
    return wait_for_some(e, &held, fresh, spin_ns) ? (int)engine_take(e, batch, max) : 0;
}

int engine_serve(struct engine *e, const struct lane_serve *serve, struct lane_request **batch, uint32_t max,
                 uint64_t spin_ns, uint32_t enough, struct engine_served *served)
{
    *served = (struct engine_served){.taken = engine_take(e, batch, max)};
    for (;;) {
        bool committed = true;
        if (served->taken > 0)
            served->executed = serve->run(serve->ctx, batch, served->taken, &committed);
        if (!committed)
            return 1;
        uint32_t n = served->taken;
        served->taken = served->executed = 0;
        served->published += n;
        if (served->published >= enough) {
            int failed = committed_and_published(e, batch, n);
            return failed < 0 ? failed : 1;
        }
        int rc = engine_turn(e, batch, n, spin_ns, max);
        if (rc <= 0)
            return rc;
        served->taken = (uint32_t)rc;
    }
}
