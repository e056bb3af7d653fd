/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/tables/missing.h"
#include "fuse/native/tables/inode_record.h"

#include <errno.h>
#include <string.h>

void missing_make(struct missing *m)
{
    memset(m, 0, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->moved, NULL);
}

void missing_free(struct missing *m)
{
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->moved);
}

void missing_begin(struct missing *m, missing_fetch *fetch, void *context)
{
    m->interpreter = pthread_self();
    m->fetch = fetch;
    m->context = context;
    m->on = 1;
}

void missing_end(struct missing *m)
{
    pthread_mutex_lock(&m->lock);
    m->on = 0;
    pthread_cond_broadcast(&m->moved);
    pthread_mutex_unlock(&m->lock);
}

static bool known(struct inodes *t, uint64_t nodeid)
{
    struct inode_shard *shard = inode_shard(t, nodeid);
    pthread_mutex_lock(&shard->lock);
    bool found = inode_lookup(t, shard, nodeid) != INDEX_NONE;
    pthread_mutex_unlock(&shard->lock);
    return found;
}

static void ask(struct missing *m, uint64_t nodeid)
{
    pthread_mutex_lock(&m->lock);
    while (m->on && m->asked - m->answered == MISSING_QUESTIONS)
        pthread_cond_wait(&m->moved, &m->lock);
    m->nodeids[m->asked % MISSING_QUESTIONS] = nodeid;
    uint64_t mine = ++m->asked;
    while (m->on && m->answered < mine)
        pthread_cond_wait(&m->moved, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

int missing_need(struct inodes *t, uint64_t nodeid, bool may_block)
{
    struct missing *m = &t->missing;
    if (!m->on || known(t, nodeid))
        return 0;
    if (pthread_equal(pthread_self(), m->interpreter))
        return m->fetch(m->context, nodeid, 0) == 0 ? 0 : may_block ? -EIO : -EAGAIN;
    if (!may_block)
        return -EAGAIN;
    ask(m, nodeid);
    return 0;
}

int missing_need_ino(struct missing *m, uint64_t ino)
{
    return !m->on || m->fetch(m->context, 0, ino) == 0 ? 0 : -EIO;
}

uint32_t missing_questions(struct missing *m, uint64_t nodeids[static MISSING_QUESTIONS])
{
    pthread_mutex_lock(&m->lock);
    uint32_t n = (uint32_t)(m->asked - m->answered);
    for (uint32_t i = 0; i < n; i++)
        nodeids[i] = m->nodeids[(m->answered + i) % MISSING_QUESTIONS];
    pthread_mutex_unlock(&m->lock);
    return n;
}

void missing_answered(struct missing *m, uint32_t n)
{
    pthread_mutex_lock(&m->lock);
    m->answered += n;
    pthread_cond_broadcast(&m->moved);
    pthread_mutex_unlock(&m->lock);
}
