/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/data_lane/append.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMPARE_BYTES 16384u /* on the stack of a queue's or pool's thread */

/* The words: where the file ended, and what of the request was in it by then. */
enum { WITNESS_END, WITNESS_PROGRESS, WITNESS_WORDS };
_Static_assert(WITNESS_WORDS <= LANE_WITNESS_WORDS, "the ring side keeps them all");

void append_locks_init(struct append_locks *locks)
{
    pthread_mutex_init(&locks->lock, NULL);
    pthread_cond_init(&locks->freed, NULL);
    locks->held = NULL;
}

/* With the lock held. */
static bool is_held(const struct append_locks *locks, uint64_t nodeid)
{
    const struct append_hold *hold = locks->held;
    while (hold != NULL && hold->nodeid != nodeid)
        hold = hold->next;
    return hold != NULL;
}

bool append_lock(struct append_locks *locks, struct append_hold *hold, uint64_t nodeid, bool may_block)
{
    pthread_mutex_lock(&locks->lock);
    while (may_block && is_held(locks, nodeid))
        pthread_cond_wait(&locks->freed, &locks->lock);
    bool ours = !is_held(locks, nodeid);
    if (ours) {
        *hold = (struct append_hold){.nodeid = nodeid, .next = locks->held};
        locks->held = hold;
    }
    pthread_mutex_unlock(&locks->lock);
    return ours;
}

void append_unlock(struct append_locks *locks, const struct append_hold *hold)
{
    pthread_mutex_lock(&locks->lock);
    struct append_hold **link = &locks->held;
    while (*link != hold)
        link = &(*link)->next;
    *link = hold->next;
    pthread_cond_broadcast(&locks->freed);
    pthread_mutex_unlock(&locks->lock);
}

static uint64_t size_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* How many of the request's bytes from `done` on stand in the file from `at` on. */
static uint64_t alike(int fd, uint64_t at, const struct lane_request *r, uint64_t done, uint64_t size)
{
    uint8_t block[COMPARE_BYTES];
    struct iovec iov[LANE_IOV_MAX + 1];
    uint64_t begin = done;
    while (done < size) {
        uint64_t wanted = 0;
        uint64_t part = size - done < sizeof block ? size - done : sizeof block;
        uint32_t n = write_iov(r, done, part, iov, &wanted);
        ssize_t got = pread(fd, block, (size_t)wanted, (off_t)(at + done - begin));
        if (got <= 0)
            break;
        uint64_t same = 0;
        for (uint32_t i = 0; i < n && same < (uint64_t)got; i++) {
            const uint8_t *ours = iov[i].iov_base;
            for (size_t k = 0; k < iov[i].iov_len && same < (uint64_t)got; k++, same++)
                if (ours[k] != block[same])
                    return done + same - begin;
        }
        done += same;
        if (same == 0)
            break;
    }
    return done - begin;
}

void append_resume(struct lane *lane, struct lane_request *r, int fd, uint64_t size)
{
    if (r->left_n < WITNESS_WORDS || r->left[WITNESS_PROGRESS] > size)
        return;
    uint64_t end = r->left[WITNESS_END];
    r->left_n = 0;
    r->progress = r->left[WITNESS_PROGRESS];
    if (size_of(fd) <= end)
        return;
    /* The guest's descriptor may be for writing only. */
    char name[16];
    snprintf(name, sizeof name, "%d", fd);
    int readable = openat(lane->host->proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (readable < 0)
        return;
    uint64_t found = alike(readable, end, r, r->progress, size);
    /* A part of it counts only when nothing follows: else it is the beginning of somebody else's bytes. */
    if (r->progress + found == size || end + found == size_of(readable))
        r->progress += found;
    close(readable);
}

void append_witness(struct lane_request *r, int fd)
{
    if (r->witness == NULL)
        return;
    const uint64_t words[WITNESS_WORDS] = {[WITNESS_END] = size_of(fd), [WITNESS_PROGRESS] = r->progress};
    r->witness(r, words, WITNESS_WORDS);
}
