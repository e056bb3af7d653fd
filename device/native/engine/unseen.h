/* SPDX-License-Identifier: Apache-2.0
 * A used element that the guest has not looked at for a while is signalled again: guests lose interrupts, and one that is
 * lost hangs the share for ever, while one too many does no harm.
 *
 * The queue thread looks, where it would sleep: at every look that finds the guest where it was at the one before, behind
 * the used index, it signals, and waits twice as long for the next; after LIMIT_SIGNAL_AGAIN_LAST_NS it leaves it at that
 * until something more is published. Where nothing has happened since the last look the thread sleeps without a timer: then
 * the next who publishes wakes it up.
 */
#ifndef STEADFS_UNSEEN_H
#define STEADFS_UNSEEN_H

#include "device/native/rings/vring.h"

/* All under the pop lock. As the thread begins: what was published before counts as not looked for yet. */
void unseen_begin(struct vring *v);
/* Before the thread sleeps: signals if it is time to. For how many milliseconds it may sleep; -1: for ever. */
int unseen_timeout_ms(struct vring *v);
/* After its sleep. */
void unseen_woke(struct vring *v);

#endif
