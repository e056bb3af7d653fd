/* SPDX-License-Identifier: Apache-2.0
 * A batch executed and committed without the interpreter, which learns of it later: what it keeps (which records are dirty,
 * which rows can be deleted) is derived, and a worker that dies before derives it from the journal.
 */
#include "specs/native/crash_point.h"
#include "fuse/native/state_lane/state_op.h"

void state_set_journal(struct state_lane *s, state_commit_fn *commit, void *ctx, uint64_t *noted)
{
    s->commit = commit;
    s->journal = ctx;
    s->noted = noted;
}

/* Must come before the commit: a guest may learn the numbers right after it. */
static void note_numbers(struct state_lane *s)
{
    __atomic_store_n(&s->noted[0], s->batch.last_nodeid, __ATOMIC_RELAXED);
    __atomic_store_n(&s->noted[1], s->batch.last_fh, __ATOMIC_RELAXED);
}

/* False: the interpreter is to commit what is pending. */
static bool commit(struct state_lane *s)
{
    struct state_batch *b = &s->batch;
    uint32_t before = b->commits_n > 0 ? b->ends[b->commits_n - 1] : 0;
    if (b->n == before)
        return true;
    if (b->commits_n == STATE_COMMITS_MAX || before >= STATE_TRANSITIONS_MAX)
        return false;
    note_numbers(s);
    CRASH_POINT("before the native commit");
    if (s->commit(s->journal, b->text, b->text_bytes, b->n - before) != 0)
        return false;
    CRASH_POINT("after the native commit");
    b->ends[b->commits_n] = b->n;
    b->text_sizes[b->commits_n++] = b->text_bytes;
    b->text_bytes = 0;
    return true;
}

uint32_t state_serve(void *state_lane, struct lane_request **requests, uint32_t n, bool *committed)
{
    struct state_lane *s = state_lane;
    uint32_t done = state_run(s, requests, n);
    *committed = done == n && commit(s);
    if (*committed)
        table_settle(s->host); /* descriptors that the journal doesn't name any more */
    return done;
}
