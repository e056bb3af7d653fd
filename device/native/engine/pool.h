/* SPDX-License-Identifier: Apache-2.0
 * The threads that run data requests which would block. Its queue is a list through the requests themselves: never
 * longer than the rings together, since each head is in it at most once. First come, first served.
 */
#ifndef STEADFS_POOL_H
#define STEADFS_POOL_H

#include "device/native/rings/vring.h"

#define POOL_THREADS_MAX LIMIT_POOL_THREADS_MAX

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t idle; /* a vring's in_pool fell to 0, or a thread ended */
    struct request *first;
    struct request *last;
    const struct lane_ops *ops;
    uint32_t threads_n;
    uint32_t threads_running;
    bool stop;
    pthread_t threads[POOL_THREADS_MAX];
};

int pool_start(struct pool *pool, uint32_t threads, const struct lane_ops *ops);
/* What still waits is dropped, what runs is waited for. -ETIMEDOUT: call it again. */
int pool_stop(struct pool *pool, uint64_t deadline_ns);
void pool_push(struct pool *pool, struct request *r);
/* Answers with EIO what waits here for its turn: nobody will look at the replies. What runs, runs on. */
void pool_fail(struct pool *pool, const struct vring *v);
/* Waits until no request of the vring is here. -ETIMEDOUT. */
int pool_wait_idle(struct pool *pool, const struct vring *v, uint64_t deadline_ns);

#endif
