/* SPDX-License-Identifier: Apache-2.0
 *
 * Inodes that a new worker has not loaded yet: its predecessor's are in the journal's checkpoint, and come one by one when
 * they are asked for, the rest in the background.
 *
 * Only the interpreter's thread loads. When it asks for a missing inode itself, it fetches it at once; another thread that
 * may block asks it to, and waits for the answer; one that may not is told -EAGAIN, which sends the request to the pool.
 */
#ifndef STEADFS_MISSING_H
#define STEADFS_MISSING_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* cdef begin */
/* Questions that wait at a time; more threads than that wait for room. */
#define MISSING_QUESTIONS 64u

/* Loads one inode by nodeid, or (nodeid 0) all with that inode number; 0 also when there is none; negative: trouble. */
typedef int missing_fetch(void *context, uint64_t nodeid, uint64_t ino);
/* cdef end */

struct inodes;

struct missing {
    _Atomic int on;
    pthread_t interpreter;
    missing_fetch *fetch;
    void *context;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t moved;
    uint64_t nodeids[MISSING_QUESTIONS];
    uint64_t asked;
    uint64_t answered; /* questions are answered in order */
};

void missing_make(struct missing *m);
void missing_free(struct missing *m);
/* From now on, until missing_end, an inode that isn't in the table may be missing; called by the interpreter's thread. */
void missing_begin(struct missing *m, missing_fetch *fetch, void *context);
void missing_end(struct missing *m);
/* Sees to it that nodeid is in the table if it exists. 0; -EAGAIN: only a thread that may block can; -EIO. */
int missing_need(struct inodes *t, uint64_t nodeid, bool may_block);
/* The same for the interpreter's thread and all inodes of that number: 0 or -EIO. */
int missing_need_ino(struct missing *m, uint64_t ino);
/* The questions that wait; answer them all, then say how many. */
uint32_t missing_questions(struct missing *m, uint64_t nodeids[static MISSING_QUESTIONS]);
void missing_answered(struct missing *m, uint32_t n);

#endif
