/* SPDX-License-Identifier: Apache-2.0
 * Popping, the same for a vring's own thread and for a consumer that looks at the rings itself. Whoever calls holds the
 * vring's pop lock.
 */
#ifndef STEADFS_POP_H
#define STEADFS_POP_H

#include "device/native/rings/vring.h"

/* Pops the next chain, of which vring_available said that there is one, and gives it to its lane: data is executed here
 * unless it would block, a stateful request goes into the inbox. Its reply may stand in the batch until pop_flush.
 * False: the vring broke. */
bool pop_one(struct vring *v);
/* Takes up a request that an earlier worker had popped, without counting it as popped; its slot stays as it is. With a
 * positive errno it is answered with that and not run. -EBUSY: somebody has it. */
int pop_again(struct vring *v, uint16_t head, int32_t error);
/* Publishes the finished requests and signals the guest. Before the ring is armed and before the lock is let go. */
void pop_flush(struct vring *v);
/* Rings for what was pushed. Not while the pop lock is to be let go at once: the consumer wakes up wanting it. */
void pop_ring(struct vring *v);

#endif
