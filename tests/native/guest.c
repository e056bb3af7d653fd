/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define AVAIL_AT(num) (16ull * (num))
#define USED_AT(num) ((AVAIL_AT(num) + 6 + 2ull * (num) + 63) / 64 * 64)
#define BUFFERS_AT(num) ((USED_AT(num) + 6 + 8ull * (num) + 4095) / 4096 * 4096)
#define BUFFER_BYTES (GUEST_REQUEST_BYTES + GUEST_REPLY_BYTES)

uint64_t guest_bytes(uint16_t num)
{
    return BUFFERS_AT(num) + (uint64_t)num * BUFFER_BYTES;
}

static uint16_t *used_u16(const struct guest *g, size_t at)
{
    return (uint16_t *)(void *)(g->used + at);
}

void guest_init(struct guest *g, uint8_t *base, uint64_t gpa, uint16_t num, bool event_idx)
{
    *g = (struct guest){.base = base, .gpa = gpa, .num = num, .event_idx = event_idx};
    g->desc = (struct vring_desc *)(void *)base;
    g->avail = (uint16_t *)(void *)(base + AVAIL_AT(num));
    g->used = base + USED_AT(num);
    for (uint16_t head = 0; head + 2 < num; head = (uint16_t)(head + 3))
        g->free[g->free_n++] = head;
    g->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    g->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

struct vring_spec guest_spec(const struct guest *g)
{
    return (struct vring_spec){
        .num = g->num,
        .base = g->avail_idx,
        .event_idx = g->event_idx,
        .desc = g->gpa,
        .avail = g->gpa + AVAIL_AT(g->num),
        .used = g->gpa + USED_AT(g->num),
    };
}

bool guest_offer(struct guest *g, uint32_t opcode, uint64_t unique, uint32_t head_bytes)
{
    if (g->free_n == 0)
        return false;
    uint16_t head = g->free[--g->free_n];
    uint64_t at = BUFFERS_AT(g->num) + (uint64_t)head * BUFFER_BYTES;
    struct lane_in_header header = {
        .len = GUEST_REQUEST_BYTES, .opcode = opcode, .unique = unique, .nodeid = head_bytes};
    memcpy(g->base + at, &header, sizeof header);
    memset(g->base + at + sizeof header, (int)(unique & 0xff), GUEST_REQUEST_BYTES - sizeof header);
    uint16_t payload = (uint16_t)(head + 1), reply = (uint16_t)(head + 2);
    g->desc[head] = (struct vring_desc){g->gpa + at, sizeof header, VRING_DESC_F_NEXT, payload};
    g->desc[payload] = (struct vring_desc){
        g->gpa + at + sizeof header, GUEST_REQUEST_BYTES - sizeof header, VRING_DESC_F_NEXT, reply};
    g->desc[reply] = (struct vring_desc){
        g->gpa + at + GUEST_REQUEST_BYTES, GUEST_REPLY_BYTES, VRING_DESC_F_WRITE, 0};
    g->uniques[head] = unique;
    __atomic_store_n(&g->avail[2 + (g->avail_idx & (g->num - 1u))], head, __ATOMIC_RELAXED);
    __atomic_store_n(&g->avail[1], ++g->avail_idx, __ATOMIC_RELEASE);
    return true;
}

void guest_kick(struct guest *g)
{
    const uint64_t one = 1;
    uint16_t old = g->kicked, new = g->avail_idx;
    g->kicked = new;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bool wanted = !(__atomic_load_n(used_u16(g, 0), __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
    if (g->event_idx) {
        uint16_t event = __atomic_load_n(used_u16(g, 4 + 8u * (size_t)g->num), __ATOMIC_RELAXED);
        wanted = (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    }
    if (wanted && write(g->kick, &one, sizeof one) != (ssize_t)sizeof one)
        abort();
}

static uint16_t used_idx(const struct guest *g)
{
    return __atomic_load_n(used_u16(g, 2), __ATOMIC_ACQUIRE);
}

uint64_t guest_take(struct guest *g, struct lane_out_header *out, uint32_t *len)
{
    if (used_idx(g) == g->seen)
        return 0;
    uint32_t *element = (uint32_t *)(void *)(g->used + 4 + 8u * (size_t)(g->seen & (g->num - 1u)));
    uint32_t head = __atomic_load_n(&element[0], __ATOMIC_RELAXED);
    *len = __atomic_load_n(&element[1], __ATOMIC_RELAXED);
    g->seen++;
    if (head >= g->num || g->uniques[head] == 0) {
        fprintf(stderr, "used element %u was not in flight\n", head);
        abort();
    }
    memcpy(out, g->base + BUFFERS_AT(g->num) + (uint64_t)head * BUFFER_BYTES + GUEST_REQUEST_BYTES, sizeof *out);
    uint64_t unique = g->uniques[head];
    g->uniques[head] = 0;
    g->free[g->free_n++] = (uint16_t)head;
    return unique;
}

bool guest_sleep(struct guest *g, int timeout_ms)
{
    uint64_t value;
    struct pollfd fd = {.fd = g->call, .events = POLLIN};
    __atomic_store_n(&g->avail[2 + g->num], g->seen, __ATOMIC_RELAXED); /* used_event; without EVENT_IDX unread */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (used_idx(g) != g->seen)
        return true;
    if (poll(&fd, 1, timeout_ms) <= 0)
        return used_idx(g) != g->seen;
    return read(g->call, &value, sizeof value) == (ssize_t)sizeof value;
}
