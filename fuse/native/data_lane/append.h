/* SPDX-License-Identifier: Apache-2.0
 *
 * Appends that a death can't double. Where the file ended is stored as a witness before the system call; a later
 * process finds this request's bytes from there on, or not. Appends to one file are done one at a time, so that
 * what stands at the witness is this request's and no other's of the guest.
 *
 * Limit: an append by another process of the host, between the witness and ours, hides ours: it is then done again.
 * What else may stand there: docs/decisions/an-append-is-looked-for-by-its-bytes.md.
 */
#ifndef STEADFS_APPEND_H
#define STEADFS_APPEND_H

#include "fuse/native/data_lane/lane_op.h"

void append_locks_init(struct append_locks *locks);
/* False, where it may not block: somebody appends to that file. `hold` is the caller's until append_unlock. */
bool append_lock(struct append_locks *locks, struct append_hold *hold, uint64_t nodeid, bool may_block);
void append_unlock(struct append_locks *locks, const struct append_hold *hold);

/* For a request that another process left with a witness: r->progress is what that one has put into the file. */
void append_resume(struct lane *lane, struct lane_request *r, int fd, uint64_t size);
/* Before the system call, under the lock. */
void append_witness(struct lane_request *r, int fd);

#endif
