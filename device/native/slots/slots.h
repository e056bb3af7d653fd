/* SPDX-License-Identifier: Apache-2.0
 * Private slots: what became of the request in each (queue, descriptor head), in a file on tmpfs that survives every
 * process. Plain ordered stores, one function per step. The phases, and what leads from one to another: specs/request.py.
 *
 * A step stores its fields first and then `state` in one 8-byte store. `state` carries phase, attempts and a check over
 * all fields that count in that phase, so a slot read after a death at any instruction is the step before or the
 * step after, and a torn or flipped one is told from both. A new request's slot passes through FREE.
 */
#ifndef STEADFS_SLOTS_H
#define STEADFS_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/native/request_phases.h"

#define SLOTS_MAGIC 0x3153544f4c535453ull /* "STSLOTS1" */
#define SLOTS_VERSION 1u
/* cdef begin */
#define SLOT_BYTES 128u
#define SLOT_WITNESS_WORDS 6
/* cdef end */

struct slots_header {
    uint64_t magic;
    uint32_t version;
    uint32_t slot_bytes;
    uint32_t queues;
    uint32_t slots_per_queue;
    uint64_t generation; /* of the device's state; set by who makes the file */
    uint8_t reserved[96];
};
_Static_assert(sizeof(struct slots_header) == SLOT_BYTES, "the header fills one slot's place");

/* cdef begin */
struct slot {
    uint64_t state;   /* phase: bits 0-7, witness counts: bit 8, attempts: bits 16-31, check: bits 32-63 */
    uint64_t epoch;   /* of the session */
    uint64_t unique;  /* of the request */
    uint64_t counter; /* order of pop over all queues */
    uint32_t opcode;
    uint16_t queue;
    uint16_t head;
    uint64_t witness[SLOT_WITNESS_WORDS];
    int32_t result; /* positive errno, 0 = success */
    uint32_t result_bytes;
    uint16_t used_at; /* its place in the used ring, from PUBLISHED on */
    uint8_t reserved[30];
};
/* cdef end */
_Static_assert(sizeof(struct slot) == SLOT_BYTES, "two cache lines");

/* cdef begin */
struct slots_report {
    uint32_t queues;
    uint32_t slots_per_queue;
    uint64_t generation;
    uint32_t phases[SLOT_PHASES]; /* sound slots by phase */
    uint32_t bad;       /* slots whose check fails or that aren't in their place */
    uint32_t first_bad_queue;
    uint32_t first_bad_head;
};

uint64_t slots_bytes(uint32_t queues, uint32_t slots_per_queue);
/* The slot of (queue, head) in a file that slots_validate has accepted; queue and head in range. */
struct slot *slots_at(void *map, uint32_t slots_per_queue, uint16_t queue, uint16_t head);

/* Writes the header over zeroed memory of slots_bytes (a zero slot is a sound free one). */
void slots_format(void *map, uint32_t queues, uint32_t slots_per_queue, uint64_t generation);
/* Header and size: 0 and the first three fields of the report, or -EPROTO when they are wrong. */
int slots_geometry(const void *map, size_t bytes, struct slots_report *report);
/* The same and each slot: believes nothing. */
int slots_validate(const void *map, size_t bytes, struct slots_report *report);
/* The first of `slots` slots from `from` on that isn't free; `slots` when there is none. For a map that is valid. */
uint32_t slots_next(const void *map, uint32_t slots, uint32_t from);
/* Copies a slot once and checks the copy: its phase, or -EILSEQ. */
int slots_read(const void *map, uint32_t slots_per_queue, uint16_t queue, uint16_t head, struct slot *copy);
/* cdef end */

/* Each of the following stores is an event of specs/request.py. Builds with STEADFS_CRASH_POINTS or STEADFS_SANITIZED abort where
 * the table refuses it; else it leads where it always leads (a phase that somebody wrote into the file is no reason to stop). */
void slot_popped(struct slot *slot, const struct slot *identity);
void slot_executing(struct slot *slot, const uint64_t *witness, uint32_t words);
void slot_executed(struct slot *slot, int32_t result, uint32_t result_bytes);
void slot_committed(struct slot *slot);
/* Executed or answered again by another process: executing, the witness as it stands; an earlier result no longer counts. */
void slot_taken_up(struct slot *slot);
/* The witness words when they count, at most `max`; returns how many. */
uint32_t slot_witness(const struct slot *slot, uint64_t *words, uint32_t max);
/* Whether it isn't the zeros that a free slot is. */
bool slot_is_told(const struct slot *slot);
/* Before the used index moves; slot_recycled after it. */
void slot_published(struct slot *slot, uint16_t used_at);
void slot_recycled(struct slot *slot);
/* Free, whatever stands there. */
void slot_scrubbed(struct slot *slot);
/* A worker died while this one was being executed: attempts + weight (saturating), all else as it is; returns the attempts. */
uint16_t slot_died_with(struct slot *slot, uint16_t weight);

static inline enum slot_phase slot_phase_of(uint64_t state)
{
    return (enum slot_phase)(state & 0xff);
}

static inline uint16_t slot_attempts_of(uint64_t state)
{
    return (uint16_t)(state >> 16);
}

#endif
