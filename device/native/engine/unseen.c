/* SPDX-License-Identifier: Apache-2.0 */
#include "device/native/engine/unseen.h"
#include "device/native/engine/engine.h"
#include "device/native/os/thread.h"

#define NS_PER_MS 1000000u

static uint16_t used_of(const struct vring *v)
{
    return __atomic_load_n(&v->used_idx, __ATOMIC_RELAXED);
}

/* Something was popped or published since the last look. */
static bool moved(const struct vring *v)
{
    return used_of(v) != v->watch.used || v->last_avail != v->watch.avail;
}

static void look(struct vring *v, uint64_t now_ns)
{
    struct vring_watch *w = &v->watch;
    uint64_t first_ns = v->engine->config.again_ns, last_ns = LIMIT_SIGNAL_AGAIN_LAST_NS;
    uint16_t event, used = used_of(v);
    bool unseen = vring_unseen(v, &event), active = moved(v);
    /* By used_event also while more is published: those are not signalled, since the guest has not moved it on. */
    bool as_before = v->event_idx ? event == w->event : used == w->used;
    if (!unseen || !as_before || w->wait_ns == 0 || (used != w->used && w->wait_ns > last_ns))
        w->wait_ns = first_ns;
    if (unseen && as_before && w->unseen && w->wait_ns <= last_ns) {
        vring_signal(v, true);
        count(&v->counters.signals_again, 1);
        w->wait_ns *= 2;
    }
    active = active || (unseen && w->wait_ns <= last_ns);
    w->used = used;
    w->avail = v->last_avail;
    w->event = event;
    w->unseen = unseen;
    w->look_at_ns = active ? now_ns + (w->wait_ns < last_ns ? w->wait_ns : last_ns) : 0;
}

void unseen_begin(struct vring *v)
{
    v->watch.unseen = false;
    v->watch.look_at_ns = 1;
}

int unseen_timeout_ms(struct vring *v)
{
    struct vring_watch *w = &v->watch;
    if (v->engine->config.again_ns == 0 || vring_is_broken(v))
        return -1;
    uint64_t now_ns = thread_now_ns();
    if (w->look_at_ns == 0 ? moved(v) : now_ns >= w->look_at_ns)
        look(v, now_ns);
    if (w->look_at_ns == 0) {
        __atomic_store_n(&v->untimed, true, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* said before the last look; guest_wants_signal has the other fence */
        if (!moved(v))
            return -1;
        unseen_woke(v);
        look(v, now_ns);
    }
    return (int)((w->look_at_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
}

void unseen_woke(struct vring *v)
{
    __atomic_store_n(&v->untimed, false, __ATOMIC_RELAXED);
}
