/* SPDX-License-Identifier: Apache-2.0 */
#include "device/native/engine/inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

int inbox_start(struct inbox *inbox, uint32_t requests)
{
    uint32_t room = 1;
    while (room < requests)
        room *= 2;
    inbox->ring = calloc(room, sizeof *inbox->ring);
    if (inbox->ring == NULL)
        return -ENOMEM;
    inbox->mask = room - 1;
    inbox->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (inbox->doorbell < 0) {
        int error = -errno;
        free(inbox->ring);
        inbox->ring = NULL;
        return error;
    }
    pthread_mutex_init(&inbox->lock, NULL);
    return 0;
}

void inbox_stop(struct inbox *inbox)
{
    if (inbox->ring == NULL)
        return;
    close(inbox->doorbell);
    free(inbox->ring);
    inbox->ring = NULL;
}

static void ring_doorbell(struct inbox *inbox)
{
    const uint64_t one = 1;
    if (write(inbox->doorbell, &one, sizeof one) == (ssize_t)sizeof one)
        __atomic_fetch_add(&inbox->rings, 1, __ATOMIC_RELAXED);
    /* After the write: the consumer, seeing it, has something to read. The other way round it might read nothing and
     * leave the doorbell readable for good. */
    __atomic_store_n(&inbox->rung, true, __ATOMIC_RELEASE);
}

void inbox_push(struct inbox *inbox, struct request *r)
{
    request_give(r, REQUEST_INBOX);
    pthread_mutex_lock(&inbox->lock);
    inbox->ring[inbox->last & inbox->mask] = r;
    __atomic_store_n(&inbox->last, inbox->last + 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_pushed(struct inbox *inbox)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&inbox->asleep, __ATOMIC_RELAXED) &&
        __atomic_exchange_n(&inbox->asleep, false, __ATOMIC_RELAXED))
        ring_doorbell(inbox);
}

uint32_t inbox_take(struct inbox *inbox, struct lane_request **out, uint32_t max)
{
    uint64_t value;
    uint32_t n = 0;
    __atomic_store_n(&inbox->asleep, false, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&inbox->rung, false, __ATOMIC_ACQUIRE) &&
        read(inbox->doorbell, &value, sizeof value) < 0 && errno != EAGAIN)
        return 0;
    if (!inbox_has_some(inbox))
        return 0;
    pthread_mutex_lock(&inbox->lock);
    while (n < max && inbox->first != inbox->last) {
        struct request *r = inbox->ring[inbox->first++ & inbox->mask];
        request_give(r, REQUEST_TAKEN);
        out[n++] = &r->lane;
    }
    __atomic_store_n(&inbox->taken, inbox->first, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&inbox->lock);
    return n;
}

bool inbox_arm(struct inbox *inbox)
{
    __atomic_store_n(&inbox->asleep, true, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* said before the last look; inbox_pushed has the other fence */
    if (!inbox_has_some(inbox))
        return true;
    __atomic_store_n(&inbox->asleep, false, __ATOMIC_RELAXED);
    return false;
}
