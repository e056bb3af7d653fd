/* SPDX-License-Identifier: Apache-2.0
 * Generated from specs/request.py by docs/generate.py (make docs); a test fails when it is stale.
 */
#ifndef STEADFS_REQUEST_PHASES_H
#define STEADFS_REQUEST_PHASES_H

#include <stdint.h>

enum slot_phase {
    SLOT_FREE = 0,
    SLOT_POPPED = 1,
    SLOT_EXECUTING = 2,
    SLOT_EXECUTED = 3,
    SLOT_COMMITTED = 4,
    SLOT_PUBLISHED = 5,
};
#define SLOT_PHASES 6u

enum slot_event {
    SLOT_EVENT_POP, /* taken from the avail ring, its head copied once */
    SLOT_EVENT_WITHDRAW, /* an earlier witness no longer counts: the next one is about to be written in its place */
    SLOT_EVENT_EXECUTE, /* the witness, if it has one, is stored; the system call comes next */
    SLOT_EVENT_RESULT, /* errno and length stored right after the system call */
    SLOT_EVENT_COMMIT, /* its transitions are committed to the journal */
    SLOT_EVENT_PUBLISH, /* the used element is written; the guest sees it when the used index moves */
    SLOT_EVENT_RECYCLE, /* the used index has passed it: the slot is free for the same head again */
    SLOT_EVENT_DIE, /* a worker died while it executed this; the slot counts how many */
    SLOT_EVENT_TAKE_UP, /* a later worker executes or answers it again; an earlier result no longer counts */
    SLOT_EVENT_SCRUB, /* nothing that stands here counts: the ring starts afresh, or the slot's check fails */
    SLOT_EVENTS
};

#define SLOT_REFUSED 0xffu

/* (phase, event): the phase that it leads to. */
static const uint8_t slot_table[SLOT_PHASES][SLOT_EVENTS] = {
    [SLOT_FREE] = {
        [SLOT_EVENT_POP] = SLOT_POPPED,
        [SLOT_EVENT_WITHDRAW] = SLOT_REFUSED,
        [SLOT_EVENT_EXECUTE] = SLOT_REFUSED,
        [SLOT_EVENT_RESULT] = SLOT_EXECUTED,
        [SLOT_EVENT_COMMIT] = SLOT_REFUSED,
        [SLOT_EVENT_PUBLISH] = SLOT_PUBLISHED,
        [SLOT_EVENT_RECYCLE] = SLOT_REFUSED,
        [SLOT_EVENT_DIE] = SLOT_REFUSED,
        [SLOT_EVENT_TAKE_UP] = SLOT_REFUSED,
        [SLOT_EVENT_SCRUB] = SLOT_FREE,
    },
    [SLOT_POPPED] = {
        [SLOT_EVENT_POP] = SLOT_REFUSED,
        [SLOT_EVENT_WITHDRAW] = SLOT_POPPED,
        [SLOT_EVENT_EXECUTE] = SLOT_EXECUTING,
        [SLOT_EVENT_RESULT] = SLOT_EXECUTED,
        [SLOT_EVENT_COMMIT] = SLOT_REFUSED,
        [SLOT_EVENT_PUBLISH] = SLOT_PUBLISHED,
        [SLOT_EVENT_RECYCLE] = SLOT_REFUSED,
        [SLOT_EVENT_DIE] = SLOT_REFUSED,
        [SLOT_EVENT_TAKE_UP] = SLOT_REFUSED,
        [SLOT_EVENT_SCRUB] = SLOT_FREE,
    },
    [SLOT_EXECUTING] = {
        [SLOT_EVENT_POP] = SLOT_REFUSED,
        [SLOT_EVENT_WITHDRAW] = SLOT_POPPED,
        [SLOT_EVENT_EXECUTE] = SLOT_REFUSED,
        [SLOT_EVENT_RESULT] = SLOT_EXECUTED,
        [SLOT_EVENT_COMMIT] = SLOT_REFUSED,
        [SLOT_EVENT_PUBLISH] = SLOT_PUBLISHED,
        [SLOT_EVENT_RECYCLE] = SLOT_REFUSED,
        [SLOT_EVENT_DIE] = SLOT_EXECUTING,
        [SLOT_EVENT_TAKE_UP] = SLOT_EXECUTING,
        [SLOT_EVENT_SCRUB] = SLOT_FREE,
    },
    [SLOT_EXECUTED] = {
        [SLOT_EVENT_POP] = SLOT_REFUSED,
        [SLOT_EVENT_WITHDRAW] = SLOT_REFUSED,
        [SLOT_EVENT_EXECUTE] = SLOT_REFUSED,
        [SLOT_EVENT_RESULT] = SLOT_REFUSED,
        [SLOT_EVENT_COMMIT] = SLOT_COMMITTED,
        [SLOT_EVENT_PUBLISH] = SLOT_PUBLISHED,
        [SLOT_EVENT_RECYCLE] = SLOT_REFUSED,
        [SLOT_EVENT_DIE] = SLOT_REFUSED,
        [SLOT_EVENT_TAKE_UP] = SLOT_EXECUTING,
        [SLOT_EVENT_SCRUB] = SLOT_FREE,
    },
    [SLOT_COMMITTED] = {
        [SLOT_EVENT_POP] = SLOT_REFUSED,
        [SLOT_EVENT_WITHDRAW] = SLOT_REFUSED,
        [SLOT_EVENT_EXECUTE] = SLOT_REFUSED,
        [SLOT_EVENT_RESULT] = SLOT_REFUSED,
        [SLOT_EVENT_COMMIT] = SLOT_REFUSED,
        [SLOT_EVENT_PUBLISH] = SLOT_PUBLISHED,
        [SLOT_EVENT_RECYCLE] = SLOT_REFUSED,
        [SLOT_EVENT_DIE] = SLOT_REFUSED,
        [SLOT_EVENT_TAKE_UP] = SLOT_EXECUTING,
        [SLOT_EVENT_SCRUB] = SLOT_FREE,
    },
    [SLOT_PUBLISHED] = {
        [SLOT_EVENT_POP] = SLOT_REFUSED,
        [SLOT_EVENT_WITHDRAW] = SLOT_REFUSED,
        [SLOT_EVENT_EXECUTE] = SLOT_REFUSED,
        [SLOT_EVENT_RESULT] = SLOT_REFUSED,
        [SLOT_EVENT_COMMIT] = SLOT_REFUSED,
        [SLOT_EVENT_PUBLISH] = SLOT_PUBLISHED,
        [SLOT_EVENT_RECYCLE] = SLOT_FREE,
        [SLOT_EVENT_DIE] = SLOT_REFUSED,
        [SLOT_EVENT_TAKE_UP] = SLOT_EXECUTING,
        [SLOT_EVENT_SCRUB] = SLOT_FREE,
    },
};

/* The same from wherever it is allowed. */
static const uint8_t slot_leads_to[SLOT_EVENTS] = {
    [SLOT_EVENT_POP] = SLOT_POPPED,
    [SLOT_EVENT_WITHDRAW] = SLOT_POPPED,
    [SLOT_EVENT_EXECUTE] = SLOT_EXECUTING,
    [SLOT_EVENT_RESULT] = SLOT_EXECUTED,
    [SLOT_EVENT_COMMIT] = SLOT_COMMITTED,
    [SLOT_EVENT_PUBLISH] = SLOT_PUBLISHED,
    [SLOT_EVENT_RECYCLE] = SLOT_FREE,
    [SLOT_EVENT_DIE] = SLOT_EXECUTING,
    [SLOT_EVENT_TAKE_UP] = SLOT_EXECUTING,
    [SLOT_EVENT_SCRUB] = SLOT_FREE,
};

#endif
