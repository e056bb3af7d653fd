/* SPDX-License-Identifier: Apache-2.0 */
#include "device/native/rings/chain.h"
#include "specs/native/lane.h"

static struct vring_desc fetch(const struct chain_table *table, uint16_t at)
{
    struct vring_desc d;
    memcpy(&d, table->desc + (size_t)at * sizeof d, sizeof d);
    __asm__ __volatile__("" : "+m"(d) : : "memory"); /* from here on d is ours: no second look at the guest's copy */
    return d;
}

static enum chain_fault add_piece(struct chain *chain, uint8_t *at, uint64_t bytes, bool write)
{
    uint32_t n = chain->src_n + chain->dst_n;
    bool same_side = n > 0 && write == (chain->dst_n > 0);
    if (same_side && (uint8_t *)chain->iov[n - 1].iov_base + chain->iov[n - 1].iov_len == at) {
        chain->iov[n - 1].iov_len += bytes; /* pages that are neighbours make one piece */
    } else {
        if (n == LANE_IOV_MAX)
            return CHAIN_LONG;
        chain->iov[n] = (struct iovec){.iov_base = at, .iov_len = bytes};
        if (write)
            chain->dst_n++;
        else
            chain->src_n++;
    }
    if (write)
        chain->dst_bytes += bytes;
    else
        chain->src_bytes += bytes;
    return CHAIN_OK;
}

static enum chain_fault add_buffer(const struct memory *memory, struct chain *chain, const struct vring_desc *d)
{
    bool write = d->flags & VRING_DESC_F_WRITE;
    uint64_t gpa = d->addr, left = d->len, end;
    if (left == 0)
        return CHAIN_ZERO;
    if (__builtin_add_overflow(gpa, left, &end))
        return CHAIN_RANGE;
    if (!write && chain->dst_n > 0)
        return CHAIN_ORDER;
    while (left > 0) {
        uint64_t run;
        uint8_t *at = memory_at(memory, gpa, left, &run);
        if (at == NULL)
            return CHAIN_RANGE;
        enum chain_fault fault = add_piece(chain, at, run, write);
        if (fault != CHAIN_OK)
            return fault;
        gpa += run;
        left -= run;
    }
    return CHAIN_OK;
}

/* All buffers from `at` on; stops at an indirect descriptor and hands it over. */
static enum chain_fault walk_table(const struct chain_table *table, uint16_t at, struct chain *chain,
                                   struct vring_desc *indirect)
{
    for (uint32_t seen = 0; seen < table->num; seen++) {
        if (at >= table->num)
            return CHAIN_LOOP;
        struct vring_desc d = fetch(table, at);
        if (d.flags & VRING_DESC_F_INDIRECT) {
            *indirect = d;
            return CHAIN_OK;
        }
        enum chain_fault fault = add_buffer(table->memory, chain, &d);
        if (fault != CHAIN_OK)
            return fault;
        if (!(d.flags & VRING_DESC_F_NEXT))
            return CHAIN_OK;
        at = d.next;
    }
    return CHAIN_LOOP;
}

static enum chain_fault open_indirect(const struct chain_table *table, const struct vring_desc *d,
                                      struct chain_table *inner)
{
    uint64_t run;
    if (!table->indirect || (d->flags & VRING_DESC_F_NEXT) || d->len == 0 || d->len % sizeof *d != 0)
        return CHAIN_INDIRECT;
    if (d->len / sizeof *d > LANE_IOV_MAX)
        return CHAIN_LONG;
    const uint8_t *at = memory_at(table->memory, d->addr, d->len, &run);
    if (at == NULL || run != d->len)
        return CHAIN_INDIRECT;
    *inner = (struct chain_table){
        .desc = at,
        .num = (uint16_t)(d->len / sizeof *d),
        .indirect = false,
        .memory = table->memory,
    };
    return CHAIN_OK;
}

enum chain_fault chain_walk(const struct chain_table *table, uint16_t head, struct chain *chain)
{
    struct vring_desc indirect = {.flags = 0}, nested = {.flags = 0};
    struct chain_table inner;
    chain->src_n = chain->dst_n = 0;
    chain->src_bytes = chain->dst_bytes = 0;
    enum chain_fault fault = walk_table(table, head, chain, &indirect);
    if (fault == CHAIN_OK && indirect.flags != 0) {
        fault = open_indirect(table, &indirect, &inner);
        if (fault == CHAIN_OK)
            fault = walk_table(&inner, 0, chain, &nested);
        if (fault == CHAIN_OK && nested.flags != 0)
            fault = CHAIN_INDIRECT;
    }
    if (fault == CHAIN_OK && chain->src_bytes > UINT32_MAX)
        fault = CHAIN_LONG;
    return fault;
}
