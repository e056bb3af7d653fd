/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/tables/budget.h"

#include <sys/resource.h>

/* As many as Linux lets a process have (fs.nr_open's default), for a limit that says infinity. */
#define FDS_MAX (1 << 20)

void budget_make(struct budget *b, uint32_t reserved, uint32_t least)
{
    struct rlimit limit;
    int64_t fds = FDS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FDS_MAX)
        fds = (int64_t)limit.rlim_cur;
    b->max = fds - reserved > (int64_t)least ? fds - reserved : (int64_t)least;
    b->held = 0;
    atomic_init(&b->taken, 0);
}

int64_t budget_room(struct budget *b)
{
    return b->max - atomic_load_explicit(&b->taken, memory_order_relaxed);
}

static bool take(struct budget *b, int64_t n)
{
    int64_t taken = atomic_load_explicit(&b->taken, memory_order_relaxed);
    do
        if (taken + n > b->max)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&b->taken, &taken, taken + n, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
}

bool budget_take(struct budget *b)
{
    return take(b, 1);
}

void budget_count(struct budget *b, int64_t n)
{
    atomic_fetch_add_explicit(&b->taken, n, memory_order_relaxed);
}

void budget_give(struct budget *b)
{
    budget_count(b, -1);
}

bool budget_hold(struct budget *b, uint32_t n)
{
    if (!take(b, n))
        return false;
    b->held += n;
    return true;
}

void budget_take_held(struct budget *b)
{
    if (b->held > 0)
        b->held--;
    else
        budget_count(b, 1);
}

void budget_let_go(struct budget *b)
{
    budget_count(b, -b->held);
    b->held = 0;
}
