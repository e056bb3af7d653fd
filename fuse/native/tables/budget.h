/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest's descriptors, counted: of its handles, of inodes that nothing else holds, of mounts, and of inodes whose descriptor
 * is only cached. All processes of the daemon share one table of descriptors; what is not in the budget is ours.
 *
 * It is counted where a descriptor is taken over and where it is closed, by any thread. What nobody may be refused any more (a
 * journal's records) is counted all the same. `held` is the writer's alone: it asks before a request changes anything on the
 * host, and what the request then takes is its own, whatever other threads cache meanwhile.
 */
#ifndef STEADFS_BUDGET_H
#define STEADFS_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
    _Atomic int64_t taken; /* what is held among it */
    int64_t max;
    int64_t held;
};

/* RLIMIT_NOFILE of this process less `reserved`, but `least`. */
void budget_make(struct budget *b, uint32_t reserved, uint32_t least);
/* How many more there may be; negative when there are too many. */
int64_t budget_room(struct budget *b);
/* One more, unless there is no room. */
bool budget_take(struct budget *b);
/* n more (or, negative, less) whatever room there is. */
void budget_count(struct budget *b, int64_t n);
void budget_give(struct budget *b);
/* The writer's: n more, all or none, of which each budget_take_held takes one; budget_let_go gives back what is left. */
bool budget_hold(struct budget *b, uint32_t n);
void budget_take_held(struct budget *b);
void budget_let_go(struct budget *b);

#endif
