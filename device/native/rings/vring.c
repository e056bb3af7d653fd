/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "device/native/rings/vring.h"
#include "specs/native/crash_point.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define DESC_ALIGN_BYTES 16u /* VIRTIO 1.2, 2.7: alignments of the three parts */
#define AVAIL_ALIGN_BYTES 2u
#define USED_ALIGN_BYTES 4u
/* An avail_event so far behind isn't crossed by a guest that adds a ring full, wherever it made its last decision; it is
 * 48 times as many requests until the index comes round to it. */
#define FAR_PAST (16u * VRING_NUM_MAX)

static uint16_t *used_flags(const struct vring *v)
{
    return (uint16_t *)(void *)v->used;
}

static uint16_t *used_idx_field(const struct vring *v)
{
    return (uint16_t *)(void *)(v->used + 2);
}

static uint32_t *used_element(const struct vring *v, uint16_t at)
{
    return (uint32_t *)(void *)(v->used + 4 + 8u * (size_t)(at & (v->num - 1u)));
}

static uint16_t *avail_event(const struct vring *v)
{
    return (uint16_t *)(void *)(v->used + 4 + 8u * (size_t)v->num);
}

static int check_spec(const struct vring_spec *spec)
{
    if (spec->num == 0 || spec->num > VRING_NUM_MAX || (spec->num & (spec->num - 1)) != 0)
        return -EPROTO;
    if (spec->desc % DESC_ALIGN_BYTES || spec->avail % AVAIL_ALIGN_BYTES || spec->used % USED_ALIGN_BYTES)
        return -EPROTO;
    return 0;
}

static int map_ring(struct vring *v, const struct vring_spec *spec, const struct memory *memory)
{
    uint8_t *desc = memory_at_uva(memory, spec->desc, 16u * (uint64_t)spec->num);
    uint8_t *avail = memory_at_uva(memory, spec->avail, 6 + 2u * (uint64_t)spec->num);
    uint8_t *used = memory_at_uva(memory, spec->used, 6 + 8u * (uint64_t)spec->num);
    if (desc == NULL || avail == NULL || used == NULL)
        return -EFAULT;
    /* A region may begin anywhere in a file: alignment of the VMM's address doesn't make ours aligned. */
    if ((uintptr_t)avail % AVAIL_ALIGN_BYTES || (uintptr_t)used % USED_ALIGN_BYTES)
        return -EPROTO;
    v->table = (struct chain_table){
        .desc = desc, .num = (uint16_t)spec->num, .indirect = spec->indirect, .memory = memory};
    v->avail = (uint16_t *)(void *)avail;
    v->used = used;
    return 0;
}

static void start_afresh(struct vring *v)
{
    v->num = (uint16_t)v->spec.num;
    v->event_idx = v->spec.event_idx;
    v->last_avail = v->avail_seen = v->spec.base;
    v->used_idx = __atomic_load_n(used_idx_field(v), __ATOMIC_ACQUIRE);
    v->used_at_setup = v->used_idx;
    v->signalled_valid = false;
    v->watch = (struct vring_watch){.used = v->used_idx, .avail = v->last_avail};
    v->batch_n = 0;
    v->batch_bytes = 0;
    v->poll_ns = 0;
    __atomic_store_n(&v->broken, VRING_SOUND, __ATOMIC_RELAXED);
}

/* Memory of its own, which is zero until it is touched. */
static struct request *new_requests(uint32_t num)
{
    void *at = mmap(NULL, num * sizeof(struct request), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void free_requests(struct request *requests, uint32_t num)
{
    if (requests != NULL)
        munmap(requests, num * sizeof *requests);
}

struct request *vring_request(struct vring *v, uint16_t head)
{
    struct request *r = &v->requests[head];
    r->vring = v;
    r->slot = v->slots == NULL ? NULL : v->slots + head;
    r->lane.queue = v->index;
    r->lane.head = head;
    return r;
}

void vring_rebase(struct vring *v, uint16_t base)
{
    v->spec.base = base;
    v->last_avail = v->avail_seen = base;
}

int vring_setup(struct vring *v, const struct vring_spec *spec, const struct memory *memory)
{
    int error = check_spec(spec);
    if (error != 0)
        return error;
    struct request *requests = new_requests(spec->num);
    if (requests == NULL)
        return -ENOMEM;
    error = map_ring(v, spec, memory);
    if (error != 0) {
        free_requests(requests, spec->num);
        return error;
    }
    vring_clear(v);
    v->requests = requests;
    v->slots = NULL;
    v->spec = *spec;
    start_afresh(v);
    return 0;
}

void vring_remap(struct vring *v, const struct memory *memory)
{
    if (v->num == 0 || map_ring(v, &v->spec, memory) == 0)
        return;
    v->avail = NULL;
    v->used = NULL;
    v->table = (struct chain_table){.memory = NULL}; /* the table of regions that it names is gone */
}

void vring_clear(struct vring *v)
{
    for (uint16_t head = 0; head < v->num; head++)
        request_recycle(&v->requests[head]);
    free_requests(v->requests, v->num);
    v->requests = NULL;
    v->num = 0;
}

uint16_t vring_available(struct vring *v)
{
    if (v->avail_seen == v->last_avail) {
        v->avail_seen = vring_avail_idx(v); /* the only fetch for this batch */
        if ((uint16_t)(v->avail_seen - v->last_avail) > v->num) {
            vring_break(v, VRING_BROKEN_AVAIL);
            v->avail_seen = v->last_avail;
        }
    }
    return (uint16_t)(v->avail_seen - v->last_avail);
}

/* A publisher frees a request only after the guest could see its used element: a quick guest may offer the head again
 * before. Under the lock the publisher is through. */
static bool is_in_flight(struct vring *v, struct request *r)
{
    if (request_owner_of(r) == REQUEST_FREE)
        return false;
    pthread_mutex_lock(&v->used_lock);
    bool busy = request_owner_of(r) != REQUEST_FREE;
    pthread_mutex_unlock(&v->used_lock);
    return busy;
}

struct request *vring_next(struct vring *v)
{
    uint16_t head = __atomic_load_n(&v->avail[2 + (v->last_avail & (v->num - 1u))], __ATOMIC_RELAXED);
    if (head >= v->num) {
        vring_break(v, VRING_BROKEN_HEAD);
        return NULL;
    }
    if (is_in_flight(v, &v->requests[head])) {
        vring_break(v, VRING_BROKEN_DUPLICATE);
        return NULL;
    }
    struct request *r = vring_request(v, head);
    request_give(r, REQUEST_POPPED);
    __atomic_fetch_add(&v->in_flight, 1, __ATOMIC_RELAXED);
    v->last_avail++;
    count(&v->counters.requests, 1);
    return r;
}

void vring_break(struct vring *v, enum vring_broken why)
{
    const uint64_t one = 1;
    __atomic_store_n(&v->broken, (uint8_t)why, __ATOMIC_RELEASE);
    count(&v->counters.broken, 1);
    pthread_mutex_lock(&v->call_lock);
    if (v->err_fd >= 0 && write(v->err_fd, &one, sizeof one) < 0)
        count(&v->counters.kick_errors, 1);
    pthread_mutex_unlock(&v->call_lock);
}

bool vring_arm(struct vring *v)
{
    if (v->event_idx)
        __atomic_store_n(avail_event(v), v->last_avail, __ATOMIC_RELAXED);
    else
        __atomic_store_n(used_flags(v), 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the request for a kick stands before we look once more */
    return vring_avail_idx(v) != v->last_avail;
}

void vring_disarm(struct vring *v)
{
    if (v->event_idx)
        __atomic_store_n(avail_event(v), (uint16_t)(v->last_avail - FAR_PAST), __ATOMIC_RELAXED);
    else
        __atomic_store_n(used_flags(v), VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

/* The one place where guest memory counts as written by a request: its used element says how much of dst. */
static void mark_written(struct vring *v, const struct request *r)
{
    count(&v->counters.written_bytes, r->lane.reply_len);
}

void vring_publish(struct vring *v, struct request *const *batch, uint32_t n)
{
    pthread_mutex_lock(&v->used_lock);
    uint16_t idx = v->used_idx;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t *element = used_element(v, (uint16_t)(idx + i));
        __atomic_store_n(&element[0], batch[i]->lane.head, __ATOMIC_RELAXED);
        __atomic_store_n(&element[1], batch[i]->lane.reply_len, __ATOMIC_RELAXED);
        inflight_batched(&v->inflight, batch[i]->lane.head);
        if (batch[i]->slot != NULL)
            slot_published(batch[i]->slot, (uint16_t)(idx + i));
        mark_written(v, batch[i]);
        CRASH_POINT("slot published");
    }
    idx = (uint16_t)(idx + n);
    __atomic_store_n(used_idx_field(v), idx, __ATOMIC_RELEASE);
    __atomic_store_n(&v->used_idx, idx, __ATOMIC_RELAXED);
    CRASH_POINT("used index stored");
    for (uint32_t i = 0; i < n; i++) {
        inflight_cleared(&v->inflight, batch[i]->lane.head);
        if (batch[i]->slot != NULL)
            slot_recycled(batch[i]->slot);
        CRASH_POINT("slot freed");
    }
    inflight_synced(&v->inflight, idx);
    count(&v->counters.published, n);
    for (uint32_t i = 0; i < n; i++) {
        request_recycle(batch[i]);
        request_give(batch[i], REQUEST_FREE);
    }
    pthread_mutex_unlock(&v->used_lock);
    __atomic_fetch_sub(&v->in_flight, n, __ATOMIC_RELEASE);
}

static bool guest_wants_signal(struct vring *v, uint16_t new)
{
    uint16_t old = v->signalled;
    bool valid = v->signalled_valid;
    v->signalled = new;
    v->signalled_valid = true;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the used index stands before we read what the guest asks for */
    if (!v->event_idx)
        return !(__atomic_load_n(&v->avail[0], __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
    uint16_t event = __atomic_load_n(&v->avail[2 + v->num], __ATOMIC_RELAXED);
    return !valid || (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

bool vring_unseen(struct vring *v, uint16_t *event)
{
    uint16_t used = __atomic_load_n(&v->used_idx, __ATOMIC_RELAXED);
    *event = 0;
    if (!v->event_idx)
        return used != v->used_at_setup && !(__atomic_load_n(&v->avail[0], __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
    *event = __atomic_load_n(&v->avail[2 + v->num], __ATOMIC_RELAXED);
    /* In front of the used index: it has seen all there is, or will be told of later ones only. */
    return (uint16_t)(*event - used) > v->num;
}

void vring_wake(struct vring *v)
{
    const uint64_t one = 1;
    while (write(v->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* After the fence of guest_wants_signal: either the thread sees the new used index before it sleeps, or we see that it
 * sleeps. */
static void have_it_watched(struct vring *v)
{
    if (__atomic_load_n(&v->untimed, __ATOMIC_RELAXED) && __atomic_exchange_n(&v->untimed, false, __ATOMIC_RELAXED))
        vring_wake(v);
}

void vring_signal(struct vring *v, bool always)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&v->call_lock);
    bool wanted = guest_wants_signal(v, __atomic_load_n(&v->used_idx, __ATOMIC_RELAXED));
    CRASH_POINT("before the signal");
    if (v->call_fd >= 0 && (wanted || always) && write(v->call_fd, &one, sizeof one) == (ssize_t)sizeof one)
        count(&v->counters.signals, 1);
    else
        count(&v->counters.signals_suppressed, 1);
    CRASH_POINT("after the signal");
    have_it_watched(v);
    pthread_mutex_unlock(&v->call_lock);
}
