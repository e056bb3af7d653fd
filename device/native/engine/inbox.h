/* SPDX-License-Identifier: Apache-2.0
 * Stateful requests of all vrings on their way to the interpreter, in order of pop.
 *
 * Fairness: one queue, first come first served. A request waits at most for those in it before, of which there are fewer
 * than the rings have heads together; that is also why it can't overflow.
 *
 * The doorbell (an eventfd) is written only when the consumer may be asleep: the consumer says so, then looks once
 * more; a producer puts its request in, then looks whether the consumer said so. A fence on both sides.
 */
#ifndef STEADFS_INBOX_H
#define STEADFS_INBOX_H

#include "device/native/rings/vring.h"

struct inbox {
    pthread_mutex_t lock __attribute__((aligned(64)));
    struct request **ring;
    uint32_t mask;
    uint32_t first; /* consumed so far */
    uint32_t last;  /* put in so far; atomic */
    uint32_t taken; /* copy of `first` for the consumer's waits; atomic */
    int doorbell;
    bool asleep; /* atomic */
    bool rung;   /* atomic: the doorbell was written and not read since */
    uint64_t rings;
};

/* Room for `requests`. Negative errno or 0. */
int inbox_start(struct inbox *inbox, uint32_t requests);
void inbox_stop(struct inbox *inbox);
/* Without a sound: the consumer may sleep on until inbox_pushed, which must follow soon. */
void inbox_push(struct inbox *inbox, struct request *r);
void inbox_pushed(struct inbox *inbox);
uint32_t inbox_take(struct inbox *inbox, struct lane_request **out, uint32_t max);
/* Arms the doorbell; false: there is something, and it isn't armed. */
bool inbox_arm(struct inbox *inbox);

/* For the consumer only: how many there are at least. */
static inline uint32_t inbox_count(const struct inbox *inbox)
{
    return __atomic_load_n(&inbox->last, __ATOMIC_ACQUIRE) - __atomic_load_n(&inbox->taken, __ATOMIC_RELAXED);
}

static inline bool inbox_has_some(const struct inbox *inbox)
{
    return inbox_count(inbox) != 0;
}

#endif
