/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the chain ends, as the worker says it, in a page that the worker and the sealer (journal/seals) map: stored after each
 * commit, read when a seal is due. A worker may die between any two stores, so the sequence tells whether the rest is whole.
 * The worker can write all of it: the sealer takes it for the worker's word and nothing else.
 */
#ifndef STEADFS_HEAD_H
#define STEADFS_HEAD_H

#include <stdint.h>

#include "journal/native/blake2b.h"

/* cdef begin */
/* Where the chain stands (journal.chain.Anchor). */
struct commit_end {
    uint64_t seq;
    uint64_t last;
    uint8_t digest[BLAKE2B_DIGEST_BYTES];
};

/* `journal`: which one, its meta created_ns. `asleep`: the sealer wants to be woken, by a datagram through descriptor `bell`.
 * `sealed`, the last transition that is, and `trouble`, an errno, the sealer tells for the status page. */
struct head_page {
    uint64_t sequence; /* odd while the rest is being stored, 0 before the first time */
    uint64_t journal;
    struct commit_end end;
    uint64_t asleep;
    int64_t bell;
    uint64_t sealed;
    uint64_t trouble;
};

/* The worker's side; one thread. Wakes the sealer if it sleeps. */
void head_store(struct head_page *page, uint64_t journal, const struct commit_end *end);
/* The sealer's side: 1 with what was stored last; 0 when nothing was yet, or it isn't whole. */
int head_load(struct head_page *page, uint64_t *journal, struct commit_end *end);
/* Before the sealer waits without an end it says so, and looks once more. */
void head_sleep(struct head_page *page);
/* cdef end */

#endif
