/*
 * The guest's side of a virtio-fs device: guest memory, split virtqueues as the Linux driver keeps them, and a bench loop.
 *
 * Sources: VIRTIO 1.2, 2.7 (split virtqueues); linux/virtio_ring.h; fs/fuse/virtio_fs.c for how requests become descriptors.
 * Everything between the two cdef lines is read by driver_build.py as well: one declaration for C and for Python.
 *
 * One thread at a time may touch a machine. No function keeps a pointer given to it, except play_bench while it runs.
 */
#ifndef STEADFS_TESTS_PLAY_DRIVER_H
#define STEADFS_TESTS_PLAY_DRIVER_H

#include <stdint.h>

/* cdef begin */
struct play_machine;

/* One piece of a request: a guest physical address, bytes, and whether the device writes there. */
struct play_segment { uint64_t addr; uint32_t len; uint32_t device_writes; };

/* One used-ring entry. known = 0: the device named a head that is not in flight (token is meaningless then). */
struct play_completion { uint64_t token; uint32_t head; uint32_t len; uint32_t known; };

/* ---- memory. Addresses are guest physical, unless a name says otherwise. ---- */
struct play_machine *play_new(uint64_t memory_bytes, uint64_t guest_base);
void play_free(struct play_machine *m);
int play_memory_fd(const struct play_machine *m);          /* owned by the machine */
uint8_t *play_memory(const struct play_machine *m);        /* the mapping, memory_bytes long */
uint8_t *play_at(const struct play_machine *m, uint64_t addr, uint64_t len); /* NULL when outside */
uint64_t play_allocate(struct play_machine *m, uint64_t bytes, uint64_t align); /* 0 when full */
uint64_t play_mark(const struct play_machine *m);
void play_rewind(struct play_machine *m, uint64_t mark);   /* forgets all allocated since the mark */

/* ---- queues. All return 0 (or a count) and -errno. ---- */
int play_queue_open(struct play_machine *m, unsigned queue, unsigned size, unsigned indirect_max);
int play_queue_reset(struct play_machine *m, unsigned queue, int indirect, int event_idx);
uint64_t play_desc_addr(const struct play_machine *m, unsigned queue);
uint64_t play_avail_addr(const struct play_machine *m, unsigned queue);
uint64_t play_used_addr(const struct play_machine *m, unsigned queue);
int play_kick_fd(const struct play_machine *m, unsigned queue); /* both owned by the machine */
int play_call_fd(const struct play_machine *m, unsigned queue);
unsigned play_free_descriptors(const struct play_machine *m, unsigned queue);
unsigned play_last_used(const struct play_machine *m, unsigned queue);

/* Puts a request into the ring and makes it available; returns its head. -ENOSPC when the ring is full. */
int play_submit(struct play_machine *m, unsigned queue, const struct play_segment *segments, unsigned count, uint64_t token);
/* Kicks unless the device said by avail_event or NO_NOTIFY that it looks anyway. 1 = kicked. */
int play_kick(struct play_machine *m, unsigned queue);
int play_reap(struct play_machine *m, unsigned queue, struct play_completion *out, unsigned max);
/* Sleeps on the call eventfd until the used index moves. 1 = something is there, 0 = time is over. */
int play_wait(struct play_machine *m, unsigned queue, int timeout_ms);

/* ---- raw control, for a hostile guest: nothing is checked but that the ring has such an entry ---- */
int play_raw_desc(struct play_machine *m, unsigned queue, unsigned index, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
int play_raw_avail(struct play_machine *m, unsigned queue, unsigned slot, uint16_t head);
int play_raw_avail_idx(struct play_machine *m, unsigned queue, uint16_t idx);
int play_raw_used_event(struct play_machine *m, unsigned queue, uint16_t idx);
int play_raw_kick(struct play_machine *m, unsigned queue);
int play_avail_idx(const struct play_machine *m, unsigned queue);
int play_used_idx(const struct play_machine *m, unsigned queue);
int play_avail_event(const struct play_machine *m, unsigned queue);

/* ---- bench: every slot runs its own small program again and again ---- */
enum { PLAY_REGISTERS = 8, PLAY_RULES = 4 };
enum play_kind {
	PLAY_REQUEST = 0, /* on the request queue; the slot waits for the reply */
	PLAY_FORGET = 1,  /* on the hiprio queue; has no reply, the slot goes on at once, as a guest's does */
	PLAY_WALK = 2     /* READDIRPLUS until the end, forgetting every entry as it comes */
};

struct play_rule { uint32_t offset; uint32_t reg; }; /* a u64 at offset of the message <-> a register of the slot */

struct play_step {
	uint32_t kind;
	uint32_t request_len;      /* fuse_in_header and arguments */
	const uint8_t *request;    /* template; the loop fills in `unique` */
	uint32_t write_len;        /* data pages after it, read by the device */
	uint32_t reply_len;        /* fuse_out_header and arguments */
	uint32_t read_len;         /* data pages after it, written by the device */
	uint32_t expect_len;       /* what fuse_out_header.len must be; 0 = anything */
	uint32_t patch_count;      /* register -> request */
	uint32_t save_count;       /* reply -> register */
	struct play_rule patches[PLAY_RULES];
	struct play_rule saves[PLAY_RULES];
	uint32_t cursor_at;        /* request offset of a u64 that moves with every round; 0 = none */
	uint32_t padding;
	uint64_t cursor_first, cursor_stride, cursor_span; /* value = first + round * stride % span */
};

struct play_run {
	unsigned queue;            /* the request queue */
	unsigned depth;            /* slots */
	unsigned step_count;
	unsigned segment_bytes;    /* data is given in pieces this large; a Linux guest: pages */
	unsigned poll;             /* 1 = spin on the used index, 0 = sleep on the call eventfd */
	uint64_t halt_poll_ns;     /* before a sleep, with interrupts asked for: as KVM does for an idle vCPU */
	int stall_ms;              /* no progress for so long: -ETIMEDOUT */
	const struct play_step *steps; /* depth * step_count */
	const uint64_t *registers;     /* depth * PLAY_REGISTERS, first values */
	uint64_t operations;       /* rounds of a program to complete, over all slots */
	/* results */
	uint64_t elapsed_ns, completed, errors, kicks, sleeps, walked;
	int32_t first_errno;       /* of the first error; 0 with errors > 0: a reply of wrong shape */
	uint32_t first_step;
};

int play_bench(struct play_machine *m, struct play_run *run);
/* cdef end */

#endif
