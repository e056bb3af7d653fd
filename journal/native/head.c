/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/native/head.h"

#include <string.h>
#include <sys/socket.h>

#define TRIES_MAX 100 /* a store takes nanoseconds: what isn't whole after so many looks was left by a dead worker */
#define WORDS (sizeof(struct commit_end) / sizeof(uint64_t))

_Static_assert(sizeof(struct commit_end) % sizeof(uint64_t) == 0, "copied word by word");

static void ring(struct head_page *page)
{
    const char bell = 'b';
    __atomic_store_n(&page->asleep, 0, __ATOMIC_RELAXED);
    /* Full or without a reader: then there is nobody to be woken. */
    (void)!send((int)page->bell, &bell, sizeof bell, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void head_store(struct head_page *page, uint64_t journal, const struct commit_end *end)
{
    uint64_t words[WORDS], *to = (uint64_t *)&page->end;
    uint64_t odd = __atomic_load_n(&page->sequence, __ATOMIC_RELAXED) | 1;
    memcpy(words, end, sizeof words);
    __atomic_store_n(&page->sequence, odd, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&page->journal, journal, __ATOMIC_RELAXED);
    for (size_t i = 0; i < WORDS; i++)
        __atomic_store_n(&to[i], words[i], __ATOMIC_RELAXED);
    __atomic_store_n(&page->sequence, odd + 1, __ATOMIC_SEQ_CST);
    /* Either the sealer sees this head when it looks once more, or we see that it sleeps. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&page->asleep, __ATOMIC_RELAXED))
        ring(page);
}

int head_load(struct head_page *page, uint64_t *journal, struct commit_end *end)
{
    uint64_t words[WORDS], *from = (uint64_t *)&page->end;
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        uint64_t before = __atomic_load_n(&page->sequence, __ATOMIC_ACQUIRE);
        if (before == 0)
            return 0;
        *journal = __atomic_load_n(&page->journal, __ATOMIC_RELAXED);
        for (size_t i = 0; i < WORDS; i++)
            words[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (before % 2 == 0 && __atomic_load_n(&page->sequence, __ATOMIC_RELAXED) == before) {
            memcpy(end, words, sizeof words);
            return 1;
        }
    }
    return 0;
}

void head_sleep(struct head_page *page)
{
    __atomic_store_n(&page->asleep, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
