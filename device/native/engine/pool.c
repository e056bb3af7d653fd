/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "device/native/engine/pool.h"
#include "specs/native/crash_point.h"
#include "device/native/os/thread.h"

#include <errno.h>

static struct request *next_request(struct pool *pool)
{
    while (pool->first == NULL && !pool->stop)
        pthread_cond_wait(&pool->work, &pool->lock);
    if (pool->stop)
        return NULL;
    struct request *r = pool->first;
    pool->first = r->next;
    if (pool->first == NULL)
        pool->last = NULL;
    return r;
}

/* Returns with the lock held. */
static void finish(struct pool *pool, struct request *r)
{
    struct vring *v = r->vring;
    vring_publish(v, &r, 1);
    vring_signal(v, false);
    pthread_mutex_lock(&pool->lock);
    if (--v->in_pool == 0)
        pthread_cond_broadcast(&pool->idle);
}

static void run(struct pool *pool, struct request *r)
{
    CRASH_POINT("pool executing");
    if (pool->ops->execute(pool->ops->ctx, &r->lane, true) != LANE_DONE)
        lane_finish(&r->lane, EIO, 0); /* it was told that it may block */
    CRASH_POINT("pool executed");
    finish(pool, r);
}

static void *pool_main(void *argument)
{
    struct pool *pool = argument;
    struct request *r;
    pthread_mutex_lock(&pool->lock);
    while ((r = next_request(pool)) != NULL) {
        pthread_mutex_unlock(&pool->lock);
        run(pool, r); /* returns with the lock held */
    }
    pool->threads_running--;
    pthread_cond_broadcast(&pool->idle);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int pool_start(struct pool *pool, uint32_t threads, const struct lane_ops *ops)
{
    pool->ops = ops;
    pthread_mutex_init(&pool->lock, NULL);
    thread_cond_init(&pool->work);
    thread_cond_init(&pool->idle);
    for (uint32_t i = 0; i < threads; i++) {
        int error = thread_start(&pool->threads[i], pool_main, pool, "pool", i);
        if (error != 0)
            return error;
        pthread_mutex_lock(&pool->lock);
        pool->threads_n++;
        pool->threads_running++;
        pthread_mutex_unlock(&pool->lock);
    }
    return 0;
}

int pool_stop(struct pool *pool, uint64_t deadline_ns)
{
    int error = 0;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->threads_running > 0 && error == 0)
        error = thread_cond_wait(&pool->idle, &pool->lock, deadline_ns);
    bool ended = pool->threads_running == 0;
    pthread_mutex_unlock(&pool->lock);
    if (!ended)
        return error;
    for (; pool->threads_n > 0; pool->threads_n--)
        pthread_join(pool->threads[pool->threads_n - 1], NULL);
    return 0;
}

void pool_push(struct pool *pool, struct request *r)
{
    request_give(r, REQUEST_POOL);
    r->next = NULL;
    pthread_mutex_lock(&pool->lock);
    r->vring->in_pool++;
    if (pool->last != NULL)
        pool->last->next = r;
    else
        pool->first = r;
    pool->last = r;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

/* With the lock held: takes the vring's requests out of the queue. */
static struct request *take_out(struct pool *pool, const struct vring *v)
{
    struct request *out = NULL, **link = &pool->first;
    pool->last = NULL;
    while (*link != NULL) {
        struct request *r = *link;
        if (r->vring == v) {
            *link = r->next;
            r->next = out;
            out = r;
        } else {
            pool->last = r;
            link = &r->next;
        }
    }
    return out;
}

void pool_fail(struct pool *pool, const struct vring *v)
{
    pthread_mutex_lock(&pool->lock);
    struct request *next, *r = take_out(pool, v);
    pthread_mutex_unlock(&pool->lock);
    for (; r != NULL; r = next) {
        next = r->next; /* once published it is the guest's */
        lane_finish(&r->lane, EIO, 0);
        finish(pool, r);
        pthread_mutex_unlock(&pool->lock);
    }
}

int pool_wait_idle(struct pool *pool, const struct vring *v, uint64_t deadline_ns)
{
    int error = 0;
    pthread_mutex_lock(&pool->lock);
    while (v->in_pool > 0 && error == 0)
        error = thread_cond_wait(&pool->idle, &pool->lock, deadline_ns);
    bool idle = v->in_pool == 0;
    pthread_mutex_unlock(&pool->lock);
    return idle ? 0 : error;
}
