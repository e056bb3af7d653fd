/* SPDX-License-Identifier: Apache-2.0
 * Threads against threads: guests that kick and sleep only as the notification rules allow, on three vrings, against
 * queue threads, pool, and a consumer of stateful requests that also pauses vrings and changes their fds. A notification
 * that gets lost is a guest that sleeps too long; a reply given twice or never is counted.
 *
 *   stress REQUESTS DEPTH EVENT_IDX POLL_NS SPIN_NS DISTURB MIX AGAIN_NS
 *   POLL_NS: the queue threads' spins, SPIN_NS: the consumer's, over the same rings. MIX: d = data only, s = stateful only (both on one vring), a = all lanes. AGAIN_NS: see
 *   struct engine_config; 0 where a signal that is lost is to be found. Prints ns per request.
 */
#define _GNU_SOURCE
#include "echo.h"
#include "guest.h"
#include "device/native/os/thread.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define QUEUES 3u
#define NUM 128u
#define DEADLINE_NS 20000000000ull
#define LOST_MS 5000

static struct guest guests[QUEUES];
static uint64_t requests;
static uint32_t depth;
static uint64_t spin_ns;
static char mix;
static uint32_t running;
static int ended; /* eventfd: a guest is done */

static void fail(const char *what, uint64_t value)
{
    fprintf(stderr, "FAILED: %s (%llu)\n", what, (unsigned long long)value);
    exit(1);
}

static uint32_t opcode_of(uint64_t unique)
{
    static const uint32_t lanes[] = {ECHO_DATA, ECHO_STATE, ECHO_DATA, ECHO_BLOCK, ECHO_SILENT, 999, ECHO_STATE};
    return mix == 'a' ? lanes[unique % 7] : mix == 's' ? ECHO_STATE : ECHO_DATA;
}

static void check_reply(uint64_t unique, const struct lane_out_header *out, uint32_t len)
{
    uint32_t opcode = opcode_of(unique);
    if (opcode == ECHO_SILENT) {
        if (len != 0)
            fail("a silent request was answered", unique);
        return;
    }
    if (out->unique != unique || out->len != len)
        fail("the reply is another's", unique);
    if (out->error != (opcode == 999 ? -38 : 0))
        fail("wrong error", (uint64_t)(int64_t)out->error);
}

static void *guest_main(void *argument)
{
    struct guest *g = argument;
    struct lane_out_header out;
    uint32_t len;
    uint64_t offered = 0, done = 0;
    while (done < requests) {
        while (offered < requests && offered - done < depth &&
               guest_offer(g, opcode_of(offered + 1), offered + 1, 40 + (uint32_t)(offered % 50)))
            offered++;
        guest_kick(g);
        uint64_t unique;
        uint64_t before = done;
        while ((unique = guest_take(g, &out, &len)) != 0) {
            check_reply(unique, &out, len);
            done++;
        }
        if (done == before && !guest_sleep(g, LOST_MS))
            fail("a notification was lost; requests done", done);
    }
    __atomic_fetch_sub(&running, 1, __ATOMIC_RELEASE);
    if (eventfd_write(ended, 1) != 0)
        fail("eventfd", 0);
    return NULL;
}

/* What the last turn took is answered, published by the next. */
static void consume(struct engine *e)
{
    static struct lane_request *batch[16];
    static uint32_t n;
    struct lane_request *before[16];
    for (uint32_t i = 0; i < n; i++) {
        struct lane_out_header out = {.len = sizeof out, .unique = batch[i]->header.unique};
        uint64_t witness[2] = {out.unique, 7};
        if (engine_executing(batch[i], witness, 2) != 0 || engine_executed(batch[i], 0, 0) != 0 ||
            engine_reply(batch[i], (const char *)&out, sizeof out) != 0)
            fail("a stateful request can't be answered", out.unique);
    }
    memcpy(before, batch, sizeof before);
    int next = engine_turn(e, batch, n, spin_ns, 16);
    if (next < 0)
        fail("a batch can't be published", n);
    if (n > 0 && next == 0 && engine_publish(e, before, n) != -22)
        fail("a batch was published twice", n);
    n = (uint32_t)next;
    if (n == 0) {
        /* Longer than the guests' patience: a doorbell that isn't rung is found by them. */
        struct pollfd fds[2] = {{.fd = engine_doorbell(e), .events = POLLIN}, {.fd = ended, .events = POLLIN}};
        eventfd_t value;
        if (poll(fds, 2, 2 * LOST_MS) > 0 && fds[1].revents != 0)
            eventfd_read(ended, &value);
    }
}

static void disturb(struct engine *e, uint32_t turn)
{
    uint32_t queue = turn % QUEUES;
    struct guest *g = &guests[queue];
    if (turn % 4 == 0) {
        if (engine_vring_pause(e, queue, DEADLINE_NS, false) != 0)
            fail("a vring can't be paused", queue);
        if (engine_vring_start(e, queue) != 0)
            fail("a vring can't be started", queue);
    } else if (turn % 4 == 2) {
        if (engine_kick_set(e, queue, -1, DEADLINE_NS) != 0 || engine_kick_set(e, queue, g->kick, DEADLINE_NS) != 0)
            fail("a kick fd can't be replaced", queue);
    }
}

static struct engine *set_up(uint8_t **base, bool event_idx, uint64_t poll_ns, uint64_t again_ns)
{
    struct engine *e;
    uint64_t each = (guest_bytes(NUM) + 4095) / 4096 * 4096, bytes = QUEUES * each;
    int fd = memfd_create("guest", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        fail("memfd", 0);
    *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct memory_region_spec region = {.gpa = 0x10000, .size = bytes, .uva = 0x10000, .fd = fd};
    struct engine_config config = {.queues = QUEUES, .pool_threads = 2, .poll_ns_max = poll_ns, .again_ns = again_ns,
                                   .ops = echo_shared_ops()};
    if (engine_new(&config, &e) != 0 || engine_memory_set(e, &region, 1) != 0)
        fail("engine", 0);
    int slots = memfd_create("slots", MFD_CLOEXEC), inflight = memfd_create("inflight", MFD_CLOEXEC);
    uint64_t slots_size = slots_bytes(QUEUES, VRING_NUM_MAX);
    if (ftruncate(slots, (off_t)slots_size) != 0 || ftruncate(inflight, 1 << 20) != 0)
        fail("memfd", 1);
    void *map = mmap(NULL, slots_size, PROT_READ | PROT_WRITE, MAP_SHARED, slots, 0);
    slots_format(map, QUEUES, VRING_NUM_MAX, 1);
    if (engine_slots_set(e, slots) != 0 || engine_inflight_set(e, inflight, 1 << 20, 0, QUEUES, NUM) != 0)
        fail("tracking", 0);
    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        struct guest *g = &guests[queue];
        guest_init(g, *base + queue * each, region.gpa + queue * each, NUM, event_idx);
        struct vring_spec spec = guest_spec(g);
        if (engine_vring_setup(e, queue, &spec) != 0 || engine_call_set(e, queue, g->call) != 0 ||
            engine_kick_set(e, queue, g->kick, DEADLINE_NS) != 0 || engine_vring_start(e, queue) != 0)
            fail("vring", queue);
    }
    return e;
}

/* CPU time of the first queue thread. */
static uint64_t thread_cpu_ns(struct engine *e)
{
    clockid_t clock;
    struct timespec spent = {.tv_sec = 0};
    if (pthread_getcpuclockid(e->vrings[0].thread, &clock) == 0)
        clock_gettime(clock, &spent);
    return (uint64_t)spent.tv_sec * 1000000000u + (uint64_t)spent.tv_nsec;
}

static void check_end(struct engine *e)
{
    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        struct vring_counters c;
        if (engine_vring_pause(e, queue, DEADLINE_NS, false) != 0 || engine_vring_base(e, queue) != guests[queue].avail_idx)
            fail("base", queue);
        engine_counters(e, queue, &c);
        if (queue == 0)
            fprintf(stderr, "kicks %llu polled %llu sleeps %llu signals %llu suppressed %llu blocked %llu\n",
                    (unsigned long long)c.kicks, (unsigned long long)c.polled, (unsigned long long)c.sleeps,
                    (unsigned long long)c.signals, (unsigned long long)c.signals_suppressed,
                    (unsigned long long)c.blocked);
    }
    struct slots_report report;
    if (slots_validate(e->slots_map, e->slots_map_bytes, &report) != 0 || report.bad != 0)
        fail("slots", report.bad);
    if (report.phases[SLOT_PUBLISHED] + report.phases[SLOT_FREE] != QUEUES * VRING_NUM_MAX)
        fail("a slot was left behind", report.phases[SLOT_PUBLISHED]);
}

int main(int argc, char **argv)
{
    pthread_t threads[QUEUES];
    uint8_t *base;
    if (argc != 9)
        return 2;
    requests = strtoull(argv[1], NULL, 10);
    depth = (uint32_t)strtoul(argv[2], NULL, 10);
    spin_ns = strtoull(argv[5], NULL, 10);
    bool disturbing = argv[6][0] == '1';
    mix = argv[7][0];
    uint32_t active = mix == 'a' ? QUEUES : 1;
    struct engine *e = set_up(&base, argv[3][0] == '1', strtoull(argv[4], NULL, 10),
                              strtoull(argv[8], NULL, 10));
    running = active;
    ended = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t begin = thread_now_ns();
    for (uint32_t i = 0; i < active; i++)
        pthread_create(&threads[i], NULL, guest_main, &guests[i]);
    uint64_t last = begin;
    for (uint32_t turn = 0; __atomic_load_n(&running, __ATOMIC_ACQUIRE) > 0;) {
        if (mix != 'd')
            consume(e);
        else
            poll(NULL, 0, 1);
        if (disturbing && thread_now_ns() - last > 500000) {
            disturb(e, turn++);
            last = thread_now_ns();
        }
    }
    uint64_t took = thread_now_ns() - begin;
    for (uint32_t i = 0; i < active; i++)
        pthread_join(threads[i], NULL);
    uint64_t cpu = thread_cpu_ns(e) / requests;
    check_end(e);
    printf("%llu ns per request, %llu ns of CPU in the queue thread\n",
           (unsigned long long)(took / (requests * active)), (unsigned long long)cpu);
    return engine_free(e, DEADLINE_NS) == 0 ? 0 : 1;
}
