/* What driver.c and bench.c share: the machine's inside. VIRTIO 1.2, 2.7 for the three ring structures. */
#ifndef STEADFS_TESTS_PLAY_RING_H
#define STEADFS_TESTS_PLAY_RING_H

#include "driver.h"

enum { QUEUES_MAX = 64, QUEUE_SIZE_MAX = 32768 };
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { USED_NO_NOTIFY = 1, AVAIL_NO_INTERRUPT = 1 };

struct desc { uint64_t addr; uint32_t len; uint16_t flags; uint16_t next; };
struct avail { uint16_t flags; uint16_t idx; uint16_t ring[]; };
struct used_elem { uint32_t id; uint32_t len; };
struct used { uint16_t flags; uint16_t idx; struct used_elem ring[]; };

_Static_assert(sizeof(struct desc) == 16, "VIRTIO 2.7.5");
_Static_assert(sizeof(struct used_elem) == 8, "VIRTIO 2.7.8");

/* Private to the driver: the device can't reach it, as in Linux (vring_desc_extra). */
struct head_state { uint64_t token; uint16_t next; uint16_t chain; uint8_t in_flight; };

struct queue {
	unsigned size;            /* 0: not opened */
	unsigned indirect_max;    /* entries of each head's indirect table */
	int indirect, event_idx;
	int kick_fd, call_fd;
	struct desc *desc;
	struct avail *avail;
	struct used *used;
	uint64_t desc_addr, avail_addr, used_addr, tables_addr;
	struct head_state *heads;
	uint16_t free_head, free_count;
	uint16_t avail_idx, kicked_idx, last_used;
};

struct play_machine {
	int memory_fd;
	uint8_t *memory;
	uint64_t bytes, guest_base, allocated;
	struct queue queues[QUEUES_MAX];
};

struct queue *queue_of(const struct play_machine *m, unsigned queue); /* NULL when not opened */
int queue_has_used(const struct queue *q);
void queue_arm(struct queue *q);      /* ask for a call at the next used entry */

#endif
