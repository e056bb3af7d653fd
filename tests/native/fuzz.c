/* SPDX-License-Identifier: Apache-2.0
 * A hostile driver: rings, descriptors and indirect tables of random nonsense, a fixed seed. After each round:
 * nothing outside of the guest's regions has changed, no iovec reached outside of them, every head completed at
 * most once, and every offered one completed unless the vring broke for a reason the round gave it.
 *
 *   fuzz SEED ROUNDS SCRIBBLE     SCRIBBLE 1: another thread changes guest memory all the time
 */
#define _GNU_SOURCE
#include "echo.h"
#include "device/native/engine/engine.h"
#include "device/native/os/thread.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* In the file: regions with canaries between them; they are no whole pages. A and B are neighbours in guest addresses,
 * so buffers may cross; C ends where the address space nearly does. R holds the rings, out of the reach of
 * buffers: a driver that lets its rings be overwritten can't be judged by them. */
#define CANARY 0xa5
#define PAD 0x1100ull
#define SIZE_A 0x21340ull
#define SIZE_B 0x10010ull
#define SIZE_C 0x3000ull
#define AT_A PAD
#define AT_B (AT_A + SIZE_A + PAD)
#define AT_C (AT_B + SIZE_B + PAD)
#define AT_R (AT_C + SIZE_C + PAD)
#define SIZE_R 0x9000ull
#define FILE_BYTES (AT_R + SIZE_R + PAD)
#define GPA_A 0x40000ull
#define GPA_B (GPA_A + SIZE_A)
#define GPA_C (0xfffffffffffff000ull - SIZE_C)
#define GPA_R 0x700000000000ull
#define DEADLINE_NS 20000000000ull
#define DESC_AT 0x0u
#define AVAIL_AT 0x4000u
#define USED_AT 0x6000u

static uint8_t *file;
static uint64_t seed;
static uint32_t num;
static uint16_t avail_idx;
static struct engine *engine;
static bool scribble, scribble_end;
static struct lane_ops echo;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static bool chance(uint32_t one_in)
{
    return rnd() % one_in == 0;
}

static void fail(const char *what, uint64_t value)
{
    fprintf(stderr, "FAILED: %s (%llu)\n", what, (unsigned long long)value);
    abort();
}

static void check_iov(const struct iovec *iov, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        bool inside = false;
        for (uint32_t k = 0; k < engine->memory->n; k++) {
            const struct memory_region *r = &engine->memory->regions[k];
            uint8_t *at = iov[i].iov_base;
            inside |= at >= r->hva && at < r->hva + r->size && iov[i].iov_len <= r->size - (uint64_t)(at - r->hva);
        }
        if (!inside || iov[i].iov_len == 0)
            fail("an iovec reaches outside of guest memory", i);
    }
}

static uint64_t iov_bytes(const struct iovec *iov, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

static void check_request(const struct lane_request *r)
{
    check_iov(r->src, r->src_n);
    check_iov(r->dst, r->dst_n);
    if (iov_bytes(r->src, r->src_n) + r->in_len != r->in_total || iov_bytes(r->dst, r->dst_n) != r->dst_len)
        fail("lengths don't add up", r->in_total);
    if (r->in_len < sizeof r->header || r->in_len > LANE_IN_BYTES_MAX || r->src_n + r->dst_n > LANE_IOV_MAX)
        fail("a limit was passed", r->in_len);
    if (memcmp(r->in, &r->header, sizeof r->header) != 0)
        fail("two headers", r->head);
}

static enum lane_result checked_execute(void *ctx, struct lane_request *r, bool may_block)
{
    check_request(r);
    return echo.execute(ctx, r, may_block);
}

static uint64_t some_address(void)
{
    static const uint64_t edges[] = {0, GPA_A, GPA_B, GPA_B + SIZE_B, GPA_C, GPA_C + SIZE_C, UINT64_MAX};
    uint64_t edge = edges[rnd() % 7];
    switch (rnd() % 4) {
    case 0:
        return edge + rnd() % 64;
    case 1:
        return edge - rnd() % 64;
    case 2:
        return chance(8) ? rnd() : GPA_A + rnd() % SIZE_A;
    default:
        return GPA_A + 0x9000 + rnd() % 0x8000;
    }
}

static uint32_t some_length(void)
{
    switch (rnd() % 8) {
    case 0:
        return (uint32_t)(rnd() % 3);
    case 1:
        return (uint32_t)rnd() >> rnd() % 32;
    case 2:
        return 16u * (uint32_t)(rnd() % 64);
    case 3:
        return (uint32_t)SIZE_B - 8 + (uint32_t)(rnd() % 16);
    default:
        return 40 + (uint32_t)(rnd() % 200);
    }
}

/* With a place in an orderly table mostly a part of a sound chain of four: two readable, two writable. */
static struct vring_desc some_desc(uint32_t table, uint32_t place)
{
    struct vring_desc d = {some_address(), some_length(), (uint16_t)(rnd() % 8), (uint16_t)(rnd() % table)};
    if (place != UINT32_MAX) {
        if (!chance(20))
            d.addr = GPA_A + 0x9000 + 64 * (rnd() % 512);
        if (!chance(20))
            d.len = 64 + (uint32_t)(rnd() % 256);
        bool more = place % 4 != 3 && place + 1 < table;
        d.flags = (uint16_t)((more ? VRING_DESC_F_NEXT : 0) | (place % 4 >= 2 ? VRING_DESC_F_WRITE : 0));
        d.next = (uint16_t)(place + 1);
    }
    if (chance(40))
        d = (struct vring_desc){rnd(), (uint32_t)rnd(), (uint16_t)rnd(), (uint16_t)rnd()};
    return d;
}

static uint8_t *guest(uint64_t offset)
{
    return file + AT_A + offset;
}

static uint8_t *ring(uint64_t offset)
{
    return file + AT_R + offset;
}

static void fill_header(uint64_t offset)
{
    static const uint32_t opcodes[] = {ECHO_DATA, ECHO_BLOCK, ECHO_STATE, ECHO_SILENT, 7};
    static const uint32_t heads[] = {0, 40, 41, 300, 5000, LANE_IN_BYTES_MAX, LANE_IN_BYTES_MAX + 1, UINT32_MAX};
    struct lane_in_header header = {
        .len = (uint32_t)rnd(), .opcode = opcodes[rnd() % 5], .unique = rnd(), .nodeid = heads[rnd() % 8]};
    memcpy(guest(offset), &header, sizeof header);
}

static void fill_memory(void)
{
    struct vring_desc *desc = (struct vring_desc *)(void *)ring(DESC_AT);
    bool orderly = !chance(4);
    for (uint32_t i = 0; i < num; i++)
        desc[i] = some_desc(num, orderly ? i : UINT32_MAX);
    for (uint64_t at = 0x9000; at < 0x11000; at += 64)
        fill_header(at);
    for (uint32_t i = 0; i < 8; i++) { /* indirect tables, some of them where descriptors may point */
        uint64_t at = 0x12000 + i * 0x400;
        for (uint32_t k = 0; k < 64; k++) {
            struct vring_desc d = some_desc(64, orderly ? k : UINT32_MAX);
            memcpy(guest(at) + k * sizeof d, &d, sizeof d);
        }
        uint32_t who = (uint32_t)(rnd() % num);
        desc[who].addr = GPA_A + at + (chance(4) ? 3 : 0);
        desc[who].len = 16u * (uint32_t)(rnd() % 65) + (chance(8) ? 1 : 0);
        desc[who].flags = VRING_DESC_F_INDIRECT | (chance(8) ? VRING_DESC_F_NEXT : 0);
    }
}

static uint16_t *avail(void)
{
    return (uint16_t *)(void *)ring(AVAIL_AT);
}

/* Offers distinct heads, or now and then one that breaks the ring. Returns how many; heads[] says which. */
static uint32_t offer(uint16_t *heads, bool *breaks)
{
    uint32_t n = (uint32_t)(rnd() % (num + 1)), start = (uint32_t)(rnd() % num);
    *breaks = false;
    for (uint32_t i = 0; i < n; i++) {
        heads[i] = (uint16_t)((start + i) % num);
        if (chance(400)) {
            heads[i] = (uint16_t)(num + rnd() % 100);
            *breaks = true;
        }
        avail()[2 + ((avail_idx + i) & (num - 1))] = heads[i];
    }
    avail_idx = (uint16_t)(avail_idx + n);
    if (chance(200)) {
        avail_idx = (uint16_t)(avail_idx + num + 1 + rnd() % 1000);
        *breaks = true;
    }
    __atomic_store_n(&avail()[1], avail_idx, __ATOMIC_RELEASE);
    return n;
}

static void consume(void)
{
    struct lane_request *batch[16];
    uint32_t n = engine_take(engine, batch, 16);
    for (uint32_t i = 0; i < n; i++) {
        struct lane_out_header out = {.len = sizeof out, .unique = batch[i]->header.unique};
        check_request(batch[i]);
        if (engine_reply(batch[i], (const char *)&out, chance(3) ? 0 : sizeof out) != 0)
            fail("reply", i);
    }
    if (engine_publish(engine, batch, n) != 0)
        fail("publish", n);
}

static void settle(uint32_t offered, uint64_t popped_before)
{
    struct vring_counters c;
    bool broken;
    uint64_t deadline = thread_now_ns() + DEADLINE_NS;
    do {
        consume();
        /* Before in_flight: what was popped ahead of the break is counted by then, and nothing is popped after it. */
        broken = engine_vring_broken(engine, 0) != 0;
        engine_counters(engine, 0, &c);
        if (thread_now_ns() > deadline)
            fail("requests never end; in flight", (uint64_t)engine_vring_in_flight(engine, 0));
        sched_yield();
    } while (engine_vring_in_flight(engine, 0) != 0 ||
             (!broken && c.requests - popped_before < offered));
}

static void check_used(const uint16_t *heads, uint32_t offered, uint16_t used_before, bool broken)
{
    uint8_t completed[VRING_NUM_MAX] = {0}, given[VRING_NUM_MAX] = {0};
    const uint8_t *used = ring(USED_AT);
    uint16_t used_idx;
    memcpy(&used_idx, used + 2, sizeof used_idx);
    uint16_t n = (uint16_t)(used_idx - used_before);
    for (uint32_t i = 0; i < offered; i++)
        if (heads[i] < num)
            given[heads[i]] = 1;
    if (n > offered || (!broken && n != offered))
        fail("completed", n);
    for (uint16_t i = 0; i < n; i++) {
        uint32_t element[2];
        memcpy(element, used + 4 + 8u * ((uint16_t)(used_before + i) & (num - 1)), sizeof element);
        if (element[0] >= num || !given[element[0]] || completed[element[0]])
            fail("a head completed that wasn't offered, or twice", element[0]);
        completed[element[0]] = 1;
    }
}

static void check_canaries(void)
{
    static const uint64_t gaps[][2] = {
        {0, AT_A}, {AT_A + SIZE_A, AT_B}, {AT_B + SIZE_B, AT_C}, {AT_C + SIZE_C, AT_R}, {AT_R + SIZE_R, FILE_BYTES}};
    for (uint32_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++)
        for (uint64_t at = gaps[i][0]; at < gaps[i][1]; at++)
            if (file[at] != CANARY)
                fail("written outside of guest memory", at);
}

static void *scribble_main(void *argument)
{
    uint64_t state = *(uint64_t *)argument | 1;
    while (!__atomic_load_n(&scribble_end, __ATOMIC_RELAXED)) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        /* Descriptors and buffers; the rings' own words stay the driver's. */
        bool buffers = state >> 60 != 0;
        uint8_t *at = buffers ? guest(0x9000 + (state >> 33) % 0xc000) : ring(DESC_AT + (state >> 33) % 0x4000);
        __atomic_store_n(at, (uint8_t)(state >> 20), __ATOMIC_RELAXED);
    }
    return NULL;
}

static void set_up_ring(void)
{
    num = 1u << rnd() % 9;
    struct vring_spec spec = {
        .num = num,
        .base = avail_idx,
        .event_idx = chance(2),
        .indirect = !chance(4),
        .desc = GPA_R + DESC_AT,
        .avail = GPA_R + AVAIL_AT,
        .used = GPA_R + USED_AT,
    };
    if (engine_vring_pause(engine, 0, DEADLINE_NS, false) != 0 || engine_vring_setup(engine, 0, &spec) != 0 ||
        engine_vring_start(engine, 0) != 0)
        fail("set up", num);
}

static void round_once(int kick)
{
    const uint64_t one = 1;
    uint16_t heads[VRING_NUM_MAX], used_before;
    struct vring_counters before;
    bool breaks;
    if (engine_vring_broken(engine, 0) != 0 || chance(20))
        set_up_ring();
    engine_counters(engine, 0, &before);
    memcpy(&used_before, ring(USED_AT) + 2, sizeof used_before);
    fill_memory();
    uint32_t offered = offer(heads, &breaks);
    if (write(kick, &one, sizeof one) != (ssize_t)sizeof one)
        fail("kick", 0);
    settle(breaks ? UINT32_MAX : offered, before.requests);
    if ((engine_vring_broken(engine, 0) != 0) != breaks)
        fail("broken without a reason, or not in spite of one", breaks);
    check_used(heads, offered, used_before, breaks);
    check_canaries();
}

static void set_up(void)
{
    int fd = memfd_create("guest", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)FILE_BYTES) != 0)
        fail("memfd", 0);
    file = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memset(file, CANARY, FILE_BYTES);
    memset(ring(0), 0, SIZE_R);
    struct memory_region_spec regions[] = {
        {.gpa = GPA_C, .size = SIZE_C, .uva = 0x10000000, .fd_offset = AT_C, .fd = fd},
        {.gpa = GPA_A, .size = SIZE_A, .uva = GPA_A, .fd_offset = AT_A, .fd = fd},
        {.gpa = GPA_B, .size = SIZE_B, .uva = GPA_B, .fd_offset = AT_B, .fd = fd},
        {.gpa = GPA_R, .size = SIZE_R, .uva = GPA_R, .fd_offset = AT_R, .fd = fd},
    };
    static struct lane_ops ops;
    echo = *echo_shared_ops();
    ops = (struct lane_ops){.ctx = echo.ctx, .classify = echo.classify, .execute = checked_execute};
    struct engine_config config = {.queues = 1, .pool_threads = 2, .poll_ns_max = 20000, .ops = &ops};
    if (engine_new(&config, &engine) != 0 || engine_memory_set(engine, regions, 4) != 0)
        fail("engine", 0);
    int inflight = memfd_create("inflight", MFD_CLOEXEC), slots = memfd_create("slots", MFD_CLOEXEC);
    uint64_t bytes = slots_bytes(1, VRING_NUM_MAX);
    if (ftruncate(inflight, 1 << 20) != 0 || ftruncate(slots, (off_t)bytes) != 0)
        fail("memfd", 1);
    slots_format(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, slots, 0), 1, VRING_NUM_MAX, 1);
    if (engine_inflight_set(engine, inflight, 1 << 20, 0, 1, VRING_NUM_MAX) != 0 || engine_slots_set(engine, slots) != 0)
        fail("tracking", 0);
}

int main(int argc, char **argv)
{
    pthread_t scribbler;
    if (argc != 4)
        return 2;
    seed = strtoull(argv[1], NULL, 10) * 2654435761u + 1;
    uint64_t rounds = strtoull(argv[2], NULL, 10), scribble_seed = seed;
    scribble = argv[3][0] == '1';
    set_up();
    int kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (engine_kick_set(engine, 0, kick, DEADLINE_NS) != 0)
        fail("kick", 1);
    set_up_ring();
    if (scribble)
        pthread_create(&scribbler, NULL, scribble_main, &scribble_seed);
    for (uint64_t i = 0; i < rounds; i++)
        round_once(kick);
    __atomic_store_n(&scribble_end, true, __ATOMIC_RELAXED);
    if (scribble)
        pthread_join(scribbler, NULL);
    struct vring_counters c;
    engine_counters(engine, 0, &c);
    printf("requests %llu data %llu state %llu refused %llu silent %llu blocked %llu oversize %llu range %llu loop %llu "
           "order %llu zero %llu indirect %llu long %llu short %llu broken %llu\n",
           (unsigned long long)c.requests, (unsigned long long)c.data, (unsigned long long)c.state,
           (unsigned long long)c.refused, (unsigned long long)c.silent, (unsigned long long)c.blocked,
           (unsigned long long)c.oversize, (unsigned long long)c.malformed_range, (unsigned long long)c.malformed_loop,
           (unsigned long long)c.malformed_order, (unsigned long long)c.malformed_zero,
           (unsigned long long)c.malformed_indirect, (unsigned long long)c.malformed_long,
           (unsigned long long)c.malformed_short, (unsigned long long)c.broken);
    return engine_free(engine, DEADLINE_NS) == 0 ? 0 : 1;
}
