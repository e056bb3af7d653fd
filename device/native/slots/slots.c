/* SPDX-License-Identifier: Apache-2.0 */
#include "device/native/slots/slots.h"
#include "specs/native/crash_point.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STATE_WITNESS 0x100u

static inline uint64_t mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * 0x9e3779b97f4a7c15ull; /* 2^64 / golden ratio: an odd multiplier that spreads low bits */
    return sum ^ (sum >> 29);
}

/* `low` is the state without its check. A free slot has no fields that count: all zero. */
static uint64_t sealed(const struct slot *slot, uint64_t low)
{
    enum slot_phase phase = slot_phase_of(low);
    if (phase == SLOT_FREE)
        return 0;
    uint64_t sum = mix(low, slot->epoch);
    sum = mix(sum, slot->unique);
    sum = mix(sum, slot->counter);
    sum = mix(sum, (uint64_t)slot->opcode | (uint64_t)slot->queue << 32 | (uint64_t)slot->head << 48);
    if (low & STATE_WITNESS)
        for (int i = 0; i < SLOT_WITNESS_WORDS; i++)
            sum = mix(sum, slot->witness[i]);
    if (phase >= SLOT_EXECUTED)
        sum = mix(sum, (uint64_t)(uint32_t)slot->result | (uint64_t)slot->result_bytes << 32);
    if (phase == SLOT_PUBLISHED)
        sum = mix(sum, slot->used_at);
    return low | (sum & 0xffffffff00000000ull);
}

/* Every other function stores what this one returns: `low` with the phase that the event leads to. */
static inline uint64_t moved(uint64_t low, enum slot_event event)
{
#if defined(STEADFS_CRASH_POINTS) || defined(STEADFS_SANITIZED)
    uint32_t phase = (uint32_t)slot_phase_of(low);
    if (phase >= SLOT_PHASES)
        phase = SLOT_FREE; /* damaged: it may be scrubbed like a free one, and nothing else */
    CRASH_PHASE(phase, event);
    if (slot_table[phase][event] == SLOT_REFUSED)
        abort();
#endif
    return (low & ~0xffull) | slot_leads_to[event];
}

static inline void set_state(struct slot *slot, uint64_t low)
{
    __atomic_store_n(&slot->state, sealed(slot, low), __ATOMIC_RELEASE);
    __asm__ __volatile__("" : : : "memory"); /* what the next step stores stays behind this one */
}

static inline uint64_t low_of(const struct slot *slot)
{
    return __atomic_load_n(&slot->state, __ATOMIC_RELAXED) & 0xffffffffull;
}

/* All but the phase stays. */
static inline void move(struct slot *slot, enum slot_event event)
{
    set_state(slot, moved(low_of(slot), event));
}

uint64_t slots_bytes(uint32_t queues, uint32_t slots_per_queue)
{
    return sizeof(struct slots_header) + (uint64_t)queues * slots_per_queue * SLOT_BYTES;
}

struct slot *slots_at(void *map, uint32_t slots_per_queue, uint16_t queue, uint16_t head)
{
    return (struct slot *)((uint8_t *)map + sizeof(struct slots_header)) + (size_t)queue * slots_per_queue + head;
}

void slots_format(void *map, uint32_t queues, uint32_t slots_per_queue, uint64_t generation)
{
    struct slots_header *header = map;
    *header = (struct slots_header){
        .version = SLOTS_VERSION,
        .slot_bytes = SLOT_BYTES,
        .queues = queues,
        .slots_per_queue = slots_per_queue,
        .generation = generation,
    };
    __atomic_store_n(&header->magic, SLOTS_MAGIC, __ATOMIC_RELEASE);
}

int slots_geometry(const void *map, size_t bytes, struct slots_report *report)
{
    struct slots_header header;
    memset(report, 0, sizeof *report);
    if (bytes < sizeof header)
        return -EPROTO;
    memcpy(&header, map, sizeof header);
    if (header.magic != SLOTS_MAGIC || header.version != SLOTS_VERSION || header.slot_bytes != SLOT_BYTES)
        return -EPROTO;
    if (header.queues == 0 || header.queues > UINT16_MAX || header.slots_per_queue == 0 ||
        header.slots_per_queue > UINT16_MAX + 1u || slots_bytes(header.queues, header.slots_per_queue) > bytes)
        return -EPROTO;
    report->queues = header.queues;
    report->slots_per_queue = header.slots_per_queue;
    report->generation = header.generation;
    return 0;
}

int slots_validate(const void *map, size_t bytes, struct slots_report *report)
{
    int error = slots_geometry(map, bytes, report);
    if (error < 0)
        return error;
    for (uint32_t queue = 0; queue < report->queues; queue++)
        for (uint32_t head = 0; head < report->slots_per_queue; head++) {
            struct slot copy;
            int phase = slots_read(map, report->slots_per_queue, (uint16_t)queue, (uint16_t)head, &copy);
            if (phase >= 0) {
                report->phases[phase]++;
            } else if (report->bad++ == 0) {
                report->first_bad_queue = queue;
                report->first_bad_head = head;
            }
        }
    return 0;
}

bool slot_is_told(const struct slot *slot)
{
    return __atomic_load_n(&slot->state, __ATOMIC_RELAXED) != 0;
}

uint32_t slots_next(const void *map, uint32_t slots, uint32_t from)
{
    const struct slot *all = (const struct slot *)((const uint8_t *)map + sizeof(struct slots_header));
    while (from < slots && !slot_is_told(&all[from]))
        from++;
    return from;
}

int slots_read(const void *map, uint32_t slots_per_queue, uint16_t queue, uint16_t head, struct slot *copy)
{
    size_t index = (size_t)queue * slots_per_queue + head;
    memcpy(copy, (const uint8_t *)map + sizeof(struct slots_header) + index * SLOT_BYTES, sizeof *copy);
    __asm__ __volatile__("" : : : "memory");
    enum slot_phase phase = slot_phase_of(copy->state);
    if (phase > SLOT_PUBLISHED || copy->state != sealed(copy, copy->state & 0xffffffffull))
        return -EILSEQ;
    if (phase != SLOT_FREE && (copy->queue != queue || copy->head != head))
        return -EILSEQ;
    return (int)phase;
}

void slot_popped(struct slot *slot, const struct slot *identity)
{
    uint64_t popped = moved(low_of(slot), SLOT_EVENT_POP);
    set_state(slot, SLOT_FREE); /* it is: but what somebody wrote into the file must not count with the fields below */
    slot->epoch = identity->epoch;
    slot->unique = identity->unique;
    slot->counter = identity->counter;
    slot->opcode = identity->opcode;
    slot->queue = identity->queue;
    slot->head = identity->head;
    set_state(slot, popped & 0xffull);
}

void slot_executing(struct slot *slot, const uint64_t *witness, uint32_t words)
{
    if (words > SLOT_WITNESS_WORDS)
        words = SLOT_WITNESS_WORDS;
    if (words > 0) {
        set_state(slot, moved(low_of(slot) & ~STATE_WITNESS, SLOT_EVENT_WITHDRAW));
        memcpy(slot->witness, witness, words * sizeof *witness);
        memset(slot->witness + words, 0, (SLOT_WITNESS_WORDS - words) * sizeof *witness);
    }
    uint64_t low = moved(low_of(slot), SLOT_EVENT_EXECUTE) & ~STATE_WITNESS;
    set_state(slot, words > 0 ? low | STATE_WITNESS : low);
}

void slot_executed(struct slot *slot, int32_t result, uint32_t result_bytes)
{
    uint64_t executed = moved(low_of(slot), SLOT_EVENT_RESULT);
    slot->result = result;
    slot->result_bytes = result_bytes;
    set_state(slot, executed);
}

void slot_taken_up(struct slot *slot)
{
    move(slot, SLOT_EVENT_TAKE_UP);
}

uint32_t slot_witness(const struct slot *slot, uint64_t *words, uint32_t max)
{
    if ((low_of(slot) & STATE_WITNESS) == 0)
        return 0;
    memcpy(words, slot->witness, max * sizeof *words);
    return max;
}

void slot_committed(struct slot *slot)
{
    move(slot, SLOT_EVENT_COMMIT);
}

void slot_published(struct slot *slot, uint16_t used_at)
{
    uint64_t published = moved(low_of(slot), SLOT_EVENT_PUBLISH);
    slot->used_at = used_at;
    set_state(slot, published);
}

void slot_recycled(struct slot *slot)
{
    move(slot, SLOT_EVENT_RECYCLE);
}

void slot_scrubbed(struct slot *slot)
{
    move(slot, SLOT_EVENT_SCRUB);
}

uint16_t slot_died_with(struct slot *slot, uint16_t weight)
{
    uint64_t low = moved(low_of(slot), SLOT_EVENT_DIE);
    uint32_t sum = (uint32_t)slot_attempts_of(low) + weight;
    uint16_t attempts = sum > UINT16_MAX ? UINT16_MAX : (uint16_t)sum;
    set_state(slot, (low & 0xffffull) | (uint64_t)attempts << 16);
    return attempts;
}
