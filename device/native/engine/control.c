/* SPDX-License-Identifier: Apache-2.0
 * Control of vrings: set up, start, pause, fds, counters.
 */
#include "device/native/engine/engine.h"
#include "device/native/os/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static struct vring *vring_of(struct engine *e, uint32_t queue)
{
    return queue < e->config.queues ? &e->vrings[queue] : NULL;
}

static int attach_inflight(struct engine *e, struct vring *v)
{
    v->inflight = (struct inflight){.queue = NULL};
    if (e->inflight != NULL && v->index < e->inflight_queues) {
        uint64_t stride = inflight_queue_bytes((uint16_t)e->inflight_queue_size);
        if (v->num > e->inflight_queue_size)
            return -EPROTO;
        v->inflight.queue = (struct inflight_queue *)(void *)(e->inflight + v->index * stride);
    }
    if (!v->spec.keep_inflight) {
        inflight_start(&v->inflight, v->num, v->used_idx);
        return 0;
    }
    int error = inflight_adopt(&v->inflight, v->num, v->used_idx);
    uint64_t next = inflight_max_counter(&v->inflight) + 1;
    if (error == 0 && next > __atomic_load_n(&e->counter, __ATOMIC_RELAXED))
        __atomic_store_n(&e->counter, next, __ATOMIC_RELAXED);
    return error;
}

static int attach_slots(struct engine *e, struct vring *v)
{
    if (e->slots_map == NULL)
        return 0;
    if (v->index >= e->slots_queues || v->num > e->slots_per_queue)
        return -EINVAL;
    v->slots = slots_at(e->slots_map, e->slots_per_queue, v->index, 0);
    for (uint16_t head = 0; head < v->num && !v->spec.keep_inflight; head++)
        slot_scrubbed(v->slots + head);
    return 0;
}

int engine_vring_setup(struct engine *e, uint32_t queue, const struct vring_spec *spec)
{
    struct vring *v = vring_of(e, queue);
    if (v == NULL)
        return -ENOENT;
    if (v->thread_made || __atomic_load_n(&v->in_flight, __ATOMIC_ACQUIRE) != 0)
        return -EBUSY;
    int error = vring_setup(v, spec, e->memory);
    if (error != 0)
        return error;
    error = attach_inflight(e, v);
    if (error == 0)
        error = attach_slots(e, v);
    if (error != 0)
        vring_clear(v);
    return error;
}

static void join_thread(struct vring *v)
{
    pthread_join(v->thread, NULL);
    v->thread_made = false;
}

/* Of a thread that was not to be stopped, or whose stop took longer than somebody would wait. */
static bool thread_goes_on(struct vring *v)
{
    pthread_mutex_lock(&v->control_lock);
    bool ended = v->thread_ended;
    if (!ended)
        __atomic_store_n(&v->stop, false, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&v->control_lock);
    if (ended)
        join_thread(v);
    return !ended;
}

int engine_vring_start(struct engine *e, uint32_t queue)
{
    struct vring *v = vring_of(e, queue);
    if (v == NULL || v->num == 0)
        return -ENOENT;
    if (v->avail == NULL)
        return -EFAULT;
    if (v->thread_made && thread_goes_on(v))
        return 0;
    __atomic_store_n(&v->stop, false, __ATOMIC_RELEASE);
    v->thread_ended = false;
    int error = thread_start(&v->thread, queue_main, v, "vring", queue);
    v->thread_made = error == 0;
    return error;
}

int control_stop_thread(struct vring *v, uint64_t deadline_ns)
{
    int error = 0;
    if (!v->thread_made)
        return 0;
    pthread_mutex_lock(&v->control_lock);
    __atomic_store_n(&v->stop, true, __ATOMIC_RELEASE);
    vring_wake(v);
    while (!v->thread_ended && error == 0)
        error = thread_cond_wait(&v->control_cond, &v->control_lock, deadline_ns);
    bool ended = v->thread_ended;
    pthread_mutex_unlock(&v->control_lock);
    if (!ended)
        return error;
    join_thread(v);
    return 0;
}

int engine_vring_pause(struct engine *e, uint32_t queue, uint64_t timeout_ns, bool gone)
{
    struct vring *v = vring_of(e, queue);
    uint64_t deadline = thread_deadline(timeout_ns);
    if (v == NULL)
        return -ENOENT;
    if (gone)
        pool_fail(&e->pool, v); /* also while the thread works on, which may take long */
    int error = control_stop_thread(v, deadline);
    if (gone)
        pool_fail(&e->pool, v);
    return error != 0 ? error : pool_wait_idle(&e->pool, v, deadline);
}

/* Never blocks a native thread on an fd of the VMM's, whatever it is. The flag is shared with the VMM; all of them
 * make their eventfds so. */
static int make_nonblocking(int fd)
{
    if (fd < 0)
        return 0;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
        return -errno;
    return 0;
}

/* With the control lock held: the thread polls the new descriptor, or there is none that polls the old one. */
static bool kick_taken_over(const struct vring *v, uint32_t generation)
{
    return !v->thread_made || v->thread_ended || v->kick_seen == generation;
}

int engine_kick_set(struct engine *e, uint32_t queue, int fd, uint64_t timeout_ns)
{
    struct vring *v = vring_of(e, queue);
    uint64_t deadline = thread_deadline(timeout_ns);
    if (v == NULL)
        return -ENOENT;
    int error = make_nonblocking(fd);
    if (error != 0)
        return error;
    pthread_mutex_lock(&v->control_lock);
    int before = v->kick_fd;
    v->kick_fd = fd < 0 ? -1 : fd;
    uint32_t generation = __atomic_add_fetch(&v->kick_generation, 1, __ATOMIC_RELEASE);
    vring_wake(v);
    while (!kick_taken_over(v, generation) && error == 0)
        error = thread_cond_wait(&v->control_cond, &v->control_lock, deadline);
    if (kick_taken_over(v, generation)) {
        error = 0;
    } else {
        /* Refused: the caller closes it, and its number will be somebody else's. */
        v->kick_fd = before;
        __atomic_add_fetch(&v->kick_generation, 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&v->control_lock);
    return error;
}

static int set_under_call_lock(struct engine *e, uint32_t queue, int fd, bool call)
{
    struct vring *v = vring_of(e, queue);
    if (v == NULL)
        return -ENOENT;
    int error = make_nonblocking(fd);
    if (error != 0)
        return error;
    pthread_mutex_lock(&v->call_lock);
    *(call ? &v->call_fd : &v->err_fd) = fd < 0 ? -1 : fd;
    pthread_mutex_unlock(&v->call_lock);
    return 0;
}

int engine_call_set(struct engine *e, uint32_t queue, int fd)
{
    return set_under_call_lock(e, queue, fd, true);
}

int engine_err_set(struct engine *e, uint32_t queue, int fd)
{
    return set_under_call_lock(e, queue, fd, false);
}

int engine_vring_base(struct engine *e, uint32_t queue)
{
    struct vring *v = vring_of(e, queue);
    if (v == NULL)
        return -ENOENT;
    if (v->thread_made || __atomic_load_n(&v->in_flight, __ATOMIC_ACQUIRE) != 0)
        return -EBUSY;
    return v->last_avail;
}

int engine_vring_signal(struct engine *e, uint32_t queue)
{
    struct vring *v = vring_of(e, queue);
    if (v == NULL || v->num == 0 || v->avail == NULL)
        return -ENOENT;
    vring_signal(v, true);
    return 0;
}

int engine_vring_in_flight(struct engine *e, uint32_t queue)
{
    struct vring *v = vring_of(e, queue);
    return v == NULL ? -ENOENT : (int)__atomic_load_n(&v->in_flight, __ATOMIC_ACQUIRE);
}

int engine_vring_running(struct engine *e, uint32_t queue)
{
    struct vring *v = vring_of(e, queue);
    return v == NULL ? -ENOENT : v->thread_made;
}

int engine_vring_broken(struct engine *e, uint32_t queue)
{
    struct vring *v = vring_of(e, queue);
    return v == NULL ? -ENOENT : __atomic_load_n(&v->broken, __ATOMIC_ACQUIRE);
}

const char *vring_broken_name(int reason)
{
    switch (reason) {
    case VRING_BROKEN_AVAIL:
        return "avail index moved by more than the ring's size";
    case VRING_BROKEN_HEAD:
        return "descriptor head outside of the table";
    case VRING_BROKEN_DUPLICATE:
        return "descriptor head offered again while in flight";
    default:
        return "sound";
    }
}

int engine_counters(struct engine *e, uint32_t queue, struct vring_counters *out)
{
    struct vring *v = vring_of(e, queue);
    if (v == NULL)
        return -ENOENT;
    const uint64_t *from = (const uint64_t *)(const void *)&v->counters;
    uint64_t *to = (uint64_t *)(void *)out;
    for (size_t i = 0; i < sizeof *out / sizeof *to; i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    return 0;
}
