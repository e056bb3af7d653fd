/* SPDX-License-Identifier: Apache-2.0
 * How long the consumer of stateful requests spins before it sleeps. Everything here is the consumer's own.
 *
 * A spin that finds something gives the next one its full length. One that finds nothing halves it, unless the sleep after
 * it turned out so short that a longer spin would have found the request: then it doubles. So a slow or idle guest
 * costs no processor time, and one that becomes quick is noticed after a few requests.
 */
#ifndef STEADFS_POLLER_H
#define STEADFS_POLLER_H

#include <stdint.h>

struct poller {
    uint64_t asleep_since_ns; /* 0: something was taken since the last spin */
    uint64_t spin_ns;         /* what the caller allowed when it went to sleep */
    uint32_t halvings;
};

#endif
