/* SPDX-License-Identifier: Apache-2.0
 * Making and unmaking of the engine, memory, and the two tracking regions. Vrings are in control.c.
 */
#include "device/native/engine/engine.h"
#include "device/native/os/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

static int vring_new(struct vring *v, struct engine *e, uint16_t index)
{
    v->engine = e;
    v->index = index;
    v->call_fd = v->err_fd = v->kick_fd = -1;
    pthread_mutex_init(&v->pop_lock, NULL);
    pthread_mutex_init(&v->used_lock, NULL);
    pthread_mutex_init(&v->call_lock, NULL);
    pthread_mutex_init(&v->control_lock, NULL);
    thread_cond_init(&v->control_cond);
    v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return v->wake_fd < 0 ? -errno : 0;
}

static void release(struct engine *e)
{
    for (uint32_t i = 0; e->vrings != NULL && i < e->config.queues; i++) {
        vring_clear(&e->vrings[i]);
        if (e->vrings[i].wake_fd >= 0)
            close(e->vrings[i].wake_fd);
    }
    free(e->vrings);
    inbox_stop(&e->inbox);
    if (e->memory != NULL)
        memory_clear(e->memory);
    free(e->memory);
    if (e->inflight_map != NULL)
        memory_unmap_file(e->inflight_map, e->inflight_map_bytes);
    if (e->slots_map != NULL)
        memory_unmap_file(e->slots_map, e->slots_map_bytes);
    free(e);
}

static int start(struct engine *e)
{
    size_t bytes = e->config.queues * sizeof(struct vring);
    e->memory = calloc(1, sizeof *e->memory);
    e->vrings = aligned_alloc(64, bytes);
    if (e->memory == NULL || e->vrings == NULL)
        return -ENOMEM;
    memset(e->vrings, 0, bytes);
    for (uint32_t i = 0; i < e->config.queues; i++)
        e->vrings[i].wake_fd = -1;
    int error = 0;
    for (uint32_t i = 0; i < e->config.queues && error == 0; i++)
        error = vring_new(&e->vrings[i], e, (uint16_t)i);
    if (error == 0)
        error = inbox_start(&e->inbox, e->config.queues * VRING_NUM_MAX);
    return error;
}

int engine_new(const struct engine_config *config, struct engine **out)
{
    if (config->queues == 0 || config->queues > ENGINE_QUEUES_MAX || config->pool_threads > POOL_THREADS_MAX ||
        config->ops == NULL)
        return -EINVAL;
    struct engine *e = aligned_alloc(64, (sizeof *e + 63) / 64 * 64);
    if (e == NULL)
        return -ENOMEM;
    memset(e, 0, sizeof *e);
    e->config = *config;
    int error = start(e);
    if (error == 0) {
        error = pool_start(&e->pool, config->pool_threads, config->ops);
        if (error != 0)
            pool_stop(&e->pool, thread_deadline(UINT64_MAX)); /* idle threads: they end at once */
    }
    if (error != 0) {
        release(e);
        return error;
    }
    *out = e;
    return 0;
}

int engine_free(struct engine *e, uint64_t timeout_ns)
{
    uint64_t deadline = thread_deadline(timeout_ns);
    int error = 0;
    for (uint32_t i = 0; i < e->config.queues && error == 0; i++)
        error = control_stop_thread(&e->vrings[i], deadline);
    if (error == 0)
        error = pool_stop(&e->pool, deadline);
    if (error == 0)
        release(e);
    return error;
}

uint32_t engine_fds(struct engine *e, int32_t out[static ENGINE_QUEUES_MAX + 1])
{
    for (uint32_t i = 0; i < e->config.queues; i++)
        out[i] = e->vrings[i].wake_fd;
    out[e->config.queues] = e->inbox.doorbell;
    return e->config.queues + 1;
}

bool engine_quiesced(struct engine *e)
{
    for (uint32_t i = 0; i < e->config.queues; i++) {
        struct vring *v = &e->vrings[i];
        if (v->thread_made || __atomic_load_n(&v->in_flight, __ATOMIC_ACQUIRE) != 0)
            return false;
    }
    return true;
}

static void remap_vrings(struct engine *e)
{
    for (uint32_t i = 0; i < e->config.queues; i++)
        vring_remap(&e->vrings[i], e->memory);
}

int engine_memory_set(struct engine *e, const struct memory_region_spec *specs, uint32_t n)
{
    if (!engine_quiesced(e))
        return -EBUSY;
    struct memory *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return -ENOMEM;
    int error = 0;
    for (uint32_t i = 0; i < n && error == 0; i++)
        error = memory_add(fresh, &specs[i]);
    struct memory *old = error == 0 ? e->memory : fresh;
    if (error == 0)
        e->memory = fresh;
    memory_clear(old);
    free(old);
    if (error == 0)
        remap_vrings(e);
    return error;
}

int engine_memory_add(struct engine *e, const struct memory_region_spec *spec)
{
    if (!engine_quiesced(e))
        return -EBUSY;
    int error = memory_add(e->memory, spec);
    remap_vrings(e);
    return error;
}

int engine_memory_remove(struct engine *e, uint64_t gpa, uint64_t uva, uint64_t size)
{
    if (!engine_quiesced(e))
        return -EBUSY;
    int error = memory_remove(e->memory, gpa, uva, size);
    remap_vrings(e);
    return error;
}

int engine_inflight_set(struct engine *e, int fd, uint64_t bytes, uint64_t offset, uint32_t queues,
                        uint32_t queue_size)
{
    void *map = NULL;
    size_t map_bytes = 0;
    int error = 0;
    if (!engine_quiesced(e))
        return -EBUSY;
    if (queues == 0 || queues > UINT16_MAX || queue_size == 0 || queue_size > UINT16_MAX ||
        queues * inflight_queue_bytes((uint16_t)queue_size) > bytes || offset % sizeof(uint64_t) != 0)
        return -EPROTO;
    uint8_t *at = memory_map_file(fd, offset, bytes, &map, &map_bytes, &error);
    if (at == NULL)
        return -error;
    for (uint32_t i = 0; i < e->config.queues; i++)
        e->vrings[i].inflight.queue = NULL;
    if (e->inflight_map != NULL)
        memory_unmap_file(e->inflight_map, e->inflight_map_bytes);
    e->inflight_map = map;
    e->inflight_map_bytes = map_bytes;
    e->inflight = at;
    e->inflight_queues = queues;
    e->inflight_queue_size = queue_size;
    return 0;
}

int engine_slots_set(struct engine *e, int fd)
{
    struct stat st;
    struct slots_report report;
    void *map = NULL;
    size_t map_bytes = 0;
    int error = 0;
    if (!engine_quiesced(e))
        return -EBUSY;
    if (fstat(fd, &st) != 0)
        return -errno;
    const uint8_t *at = memory_map_file(fd, 0, (uint64_t)st.st_size, &map, &map_bytes, &error);
    if (at == NULL)
        return error == EPROTO ? -EUCLEAN : -error; /* the file is ours: nobody else is to blame */
    if (slots_geometry(at, (size_t)st.st_size, &report) != 0) {
        memory_unmap_file(map, map_bytes);
        return -EUCLEAN;
    }
    for (uint32_t i = 0; i < e->config.queues; i++)
        e->vrings[i].slots = NULL;
    if (e->slots_map != NULL)
        memory_unmap_file(e->slots_map, e->slots_map_bytes);
    e->slots_map = map;
    e->slots_map_bytes = map_bytes;
    e->slots_queues = report.queues;
    e->slots_per_queue = report.slots_per_queue;
    return 0;
}

void engine_epoch_set(struct engine *e, uint64_t epoch)
{
    __atomic_store_n(&e->epoch, epoch, __ATOMIC_RELAXED);
}
