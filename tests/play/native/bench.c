/*
 * The bench loop: depth slots, each with a program of requests it repeats; no Python between the requests.
 * Requests are cut into descriptors as Linux's virtio_fs.c does: fuse_in_header, arguments, data pages, fuse_out_header,
 * reply arguments, data pages. FORGETs go to queue 0, nobody waits for them but for a free buffer.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { IN_HEADER = 40, OUT_HEADER = 16, FORGET_LEN = 48, FORGETS_MAX = 128, REAP_MAX = 64, HIPRIO = 0 };
enum { OFFSET_UNIQUE = 8, OFFSET_NODEID = 16, WALK_OFFSET = IN_HEADER + 8 }; /* fuse_in_header, fuse_read_in.offset */
enum { ENTRY_OUT = 128, DIRENT = 24 }; /* fuse_direntplus: entry_out, then the dirent up to its name */

struct slot {
	uint64_t registers[PLAY_REGISTERS];
	uint64_t round, unique, walk_offset;
	uint64_t request_addr, write_addr, reply_addr, read_addr;
	uint8_t *request, *reply, *read;
	unsigned step;
	int resting; /* no more rounds to run */
};

struct bench {
	struct play_machine *m;
	struct play_run *run;
	struct queue *requests, *hiprio;
	struct slot *slots;
	struct play_segment *segments;
	uint64_t forgets_addr, started, unique;
	unsigned free_forgets, forget_stack[FORGETS_MAX];
	unsigned resting;
	int failure;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void put64(uint8_t *at, uint64_t value) { memcpy(at, &value, sizeof(value)); }

static const struct play_step *step_of(const struct bench *b, unsigned slot, unsigned step)
{
	return &b->run->steps[slot * b->run->step_count + step];
}

static void note_error(struct bench *b, unsigned step, int error)
{
	if (!b->run->errors++) {
		b->run->first_errno = error;
		b->run->first_step = step;
	}
}

/* What KVM does before it puts an idle vCPU to sleep (halt_poll_ns): the interrupt is still sent, but nobody has to be woken. */
static bool came_while_halting(const struct bench *b)
{
	uint64_t until = now_ns() + b->run->halt_poll_ns;

	do {
		for (unsigned i = 0; i < 64; i++) {
			if (queue_has_used(b->requests) || queue_has_used(b->hiprio))
				return true;
			__builtin_ia32_pause();
		}
	} while (now_ns() < until);
	return false;
}

/* One pass of sleeping: until either queue has something used, or the stall limit is over. */
static int rest(struct bench *b)
{
	struct pollfd fds[2] = {{.fd = b->requests->call_fd, .events = POLLIN}, {.fd = b->hiprio->call_fd, .events = POLLIN}};
	uint64_t begun = 0, spins = 0, drained;

	for (;;) {
		if (!b->run->poll) {
			queue_arm(b->requests);
			queue_arm(b->hiprio);
		}
		if (queue_has_used(b->requests) || queue_has_used(b->hiprio))
			return 0;
		if (b->run->poll) {
			__builtin_ia32_pause();
			if (++spins % 4096)
				continue;
			begun = begun ? begun : now_ns();
			if (now_ns() - begun > (uint64_t)b->run->stall_ms * 1000000u)
				return -ETIMEDOUT;
			continue;
		}
		if (b->run->halt_poll_ns && came_while_halting(b))
			return 0;
		b->run->sleeps++;
		int ready = poll(fds, 2, b->run->stall_ms);
		if (ready < 0)
			return -errno;
		if (!ready)
			return -ETIMEDOUT;
		for (unsigned i = 0; i < 2; i++)
			if (fds[i].revents && read(fds[i].fd, &drained, sizeof(drained)) < 0 && errno != EAGAIN)
				return -errno;
	}
}

static void reap_forgets(struct bench *b)
{
	struct play_completion done[REAP_MAX];
	int count;

	while ((count = play_reap(b->m, HIPRIO, done, REAP_MAX)) > 0)
		for (int i = 0; i < count; i++) {
			if (!done[i].known)
				b->failure = -EPROTO;
			else
				b->forget_stack[b->free_forgets++] = (unsigned)done[i].token;
		}
}

static void kick(struct bench *b, unsigned queue)
{
	int kicked = play_kick(b->m, queue);

	if (kicked < 0)
		b->failure = kicked;
	else
		b->run->kicks += (unsigned)kicked;
}

/* Waits on queue 0 only, so that no reply is taken out of turn. */
static void send_forget(struct bench *b, const uint8_t *request)
{
	struct play_segment segment = {.len = FORGET_LEN};
	unsigned buffer;
	int head;

	reap_forgets(b);
	while (!b->free_forgets && !b->failure) {
		int ready = play_wait(b->m, HIPRIO, b->run->stall_ms);

		if (ready <= 0)
			b->failure = ready ? ready : -ETIMEDOUT;
		reap_forgets(b);
	}
	if (b->failure)
		return;
	buffer = b->forget_stack[--b->free_forgets];
	segment.addr = b->forgets_addr + (uint64_t)buffer * FORGET_LEN;
	memcpy(play_at(b->m, segment.addr, FORGET_LEN), request, FORGET_LEN);
	head = play_submit(b->m, HIPRIO, &segment, 1, buffer);
	if (head < 0)
		b->failure = head;
	kick(b, HIPRIO);
}

static unsigned add_pages(const struct bench *b, unsigned count, uint64_t addr, uint32_t len, uint32_t device_writes)
{
	while (len) {
		uint32_t piece = len < b->run->segment_bytes ? len : b->run->segment_bytes;

		b->segments[count++] = (struct play_segment){addr, piece, device_writes};
		addr += piece;
		len -= piece;
	}
	return count;
}

static void send_request(struct bench *b, unsigned index, const struct play_step *s)
{
	struct slot *slot = &b->slots[index];
	unsigned count = 0;
	int head;

	b->segments[count++] = (struct play_segment){slot->request_addr, IN_HEADER, 0};
	if (s->request_len > IN_HEADER)
		b->segments[count++] = (struct play_segment){slot->request_addr + IN_HEADER, s->request_len - IN_HEADER, 0};
	count = add_pages(b, count, slot->write_addr, s->write_len, 0);
	b->segments[count++] = (struct play_segment){slot->reply_addr, OUT_HEADER, 1};
	if (s->reply_len > OUT_HEADER)
		b->segments[count++] = (struct play_segment){slot->reply_addr + OUT_HEADER, s->reply_len - OUT_HEADER, 1};
	count = add_pages(b, count, slot->read_addr, s->read_len, 1);
	memset(slot->reply, 0, OUT_HEADER);
	head = play_submit(b->m, b->run->queue, b->segments, count, index);
	if (head < 0)
		b->failure = head;
	kick(b, b->run->queue);
}

static void compose(struct bench *b, struct slot *slot, const struct play_step *s)
{
	memcpy(slot->request, s->request, s->request_len);
	b->unique += 2; /* Linux's FUSE_REQ_ID_STEP */
	slot->unique = b->unique;
	put64(slot->request + OFFSET_UNIQUE, slot->unique);
	for (unsigned i = 0; i < s->patch_count; i++)
		put64(slot->request + s->patches[i].offset, slot->registers[s->patches[i].reg]);
	if (s->cursor_at)
		put64(slot->request + s->cursor_at, s->cursor_first + slot->round * s->cursor_stride % s->cursor_span);
	if (s->kind == PLAY_WALK)
		put64(slot->request + WALK_OFFSET, slot->walk_offset);
}

/* A new round, unless enough of them are under way or done. */
static int next_round(struct bench *b, struct slot *slot)
{
	slot->step = 0;
	slot->walk_offset = 0;
	slot->round++;
	if (b->started >= b->run->operations) {
		slot->resting = 1;
		b->resting++;
		return 0;
	}
	b->started++;
	return 1;
}

/* Sends the slot's requests up to the first whose reply must be awaited. */
static void advance(struct bench *b, unsigned index)
{
	struct slot *slot = &b->slots[index];

	while (!slot->resting && !b->failure) {
		const struct play_step *s;

		if (slot->step == b->run->step_count) {
			b->run->completed++;
			if (!next_round(b, slot))
				return;
		}
		s = step_of(b, index, slot->step);
		compose(b, slot, s);
		if (s->kind != PLAY_FORGET) {
			send_request(b, index, s);
			return;
		}
		send_forget(b, slot->request);
		slot->step++;
	}
}

/* Forgets each entry that carries a nodeid. 1: there may be more; 0: end of directory; -1: not a list of fuse_direntplus. */
static int walk_entries(struct bench *b, struct slot *slot, uint32_t bytes)
{
	uint8_t forget[FORGET_LEN] = {0};
	uint32_t at = 0, len = FORGET_LEN, opcode = 2;

	memcpy(forget, &len, sizeof(len));
	memcpy(forget + 4, &opcode, sizeof(opcode));
	put64(forget + IN_HEADER, 1);
	while (bytes - at >= ENTRY_OUT + DIRENT && !b->failure) {
		const uint8_t *entry = slot->read + at;
		uint32_t name_len = get32(entry + ENTRY_OUT + 16);
		uint64_t record = (ENTRY_OUT + DIRENT + (uint64_t)name_len + 7) / 8 * 8;

		if (!name_len || record > bytes - at)
			return -1;
		slot->walk_offset = get64(entry + ENTRY_OUT + 8);
		b->run->walked++;
		if (get64(entry)) {
			b->unique += 2;
			put64(forget + OFFSET_UNIQUE, b->unique);
			put64(forget + OFFSET_NODEID, get64(entry));
			send_forget(b, forget);
		}
		at += (uint32_t)record;
	}
	return at > 0;
}

/* 0 = the step is done, 1 = send it again, -1 = it failed. */
static int take_reply(struct bench *b, struct slot *slot, const struct play_step *s, uint32_t used_len)
{
	uint32_t len = get32(slot->reply);
	int error = (int32_t)get32(slot->reply + 4);
	int more;

	if (error || get64(slot->reply + 8) != slot->unique || len != used_len || len < OUT_HEADER ||
	    len > s->reply_len + s->read_len || (s->expect_len && len != s->expect_len)) {
		note_error(b, slot->step, -error);
		return -1;
	}
	for (unsigned i = 0; i < s->save_count; i++)
		slot->registers[s->saves[i].reg] = get64(slot->reply + s->saves[i].offset);
	if (s->kind != PLAY_WALK)
		return 0;
	more = walk_entries(b, slot, len - OUT_HEADER);
	if (more < 0)
		note_error(b, slot->step, 0);
	return more;
}

static void complete(struct bench *b, unsigned index, uint32_t used_len)
{
	struct slot *slot = &b->slots[index];
	int outcome = take_reply(b, slot, step_of(b, index, slot->step), used_len);

	if (outcome < 0)
		next_round(b, slot); /* a failed round is counted as an error, not as completed */
	else if (!outcome)
		slot->step++;
	advance(b, index);
}

static void loop(struct bench *b)
{
	struct play_completion done[REAP_MAX];

	while (!b->failure && (b->resting < b->run->depth || b->hiprio->free_count < b->hiprio->size)) {
		int count = play_reap(b->m, b->run->queue, done, REAP_MAX);

		for (int i = 0; i < count && !b->failure; i++) {
			if (done[i].known)
				complete(b, (unsigned)done[i].token, done[i].len);
			else
				b->failure = -EPROTO;
		}
		reap_forgets(b);
		if (count <= 0 && !b->failure && (b->resting < b->run->depth || b->hiprio->free_count < b->hiprio->size))
			b->failure = rest(b);
	}
}

static uint32_t largest(const struct play_run *run, size_t field)
{
	uint32_t most = 0;

	for (unsigned i = 0; i < run->depth * run->step_count; i++) {
		uint32_t value = get32((const uint8_t *)&run->steps[i] + field);

		most = value > most ? value : most;
	}
	return most;
}

static int set_up_slots(struct bench *b)
{
	const struct play_run *run = b->run;
	uint32_t request = largest(run, offsetof(struct play_step, request_len)) + FORGET_LEN;
	uint32_t reply = largest(run, offsetof(struct play_step, reply_len)) + OUT_HEADER;
	uint32_t written = largest(run, offsetof(struct play_step, write_len)) + 1;
	uint32_t read = largest(run, offsetof(struct play_step, read_len)) + 1;

	b->segments = calloc(8 + (written + read) / run->segment_bytes, sizeof(*b->segments));
	b->slots = calloc(run->depth, sizeof(*b->slots));
	b->forgets_addr = play_allocate(b->m, FORGET_LEN * FORGETS_MAX, 64);
	if (!b->segments || !b->slots || !b->forgets_addr)
		return -ENOMEM;
	for (unsigned i = 0; i < run->depth; i++) {
		struct slot *slot = &b->slots[i];

		memcpy(slot->registers, &run->registers[i * PLAY_REGISTERS], sizeof(slot->registers));
		slot->request_addr = play_allocate(b->m, request, 64);
		slot->reply_addr = play_allocate(b->m, reply, 64);
		slot->write_addr = play_allocate(b->m, written, 4096);
		slot->read_addr = play_allocate(b->m, read, 4096);
		if (!slot->request_addr || !slot->reply_addr || !slot->write_addr || !slot->read_addr)
			return -ENOMEM;
		slot->request = play_at(b->m, slot->request_addr, request);
		slot->reply = play_at(b->m, slot->reply_addr, reply);
		slot->read = play_at(b->m, slot->read_addr, read);
		memset(play_at(b->m, slot->write_addr, written), 0x5a, written); /* and faults the pages in */
		memset(slot->read, 0, read);
	}
	b->free_forgets = b->hiprio->size < FORGETS_MAX ? b->hiprio->size : FORGETS_MAX;
	for (unsigned i = 0; i < b->free_forgets; i++)
		b->forget_stack[i] = i;
	return 0;
}

int play_bench(struct play_machine *m, struct play_run *run)
{
	struct bench b = {.m = m, .run = run, .requests = queue_of(m, run->queue), .hiprio = queue_of(m, HIPRIO)};
	uint64_t mark = play_mark(m), begin;

	if (!b.requests || !b.hiprio || b.requests == b.hiprio || !run->depth || !run->step_count || !run->segment_bytes ||
	    b.requests->free_count < run->depth || b.hiprio->free_count != b.hiprio->size)
		return -EINVAL;
	run->elapsed_ns = run->completed = run->errors = run->kicks = run->sleeps = run->walked = 0;
	run->first_errno = 0;
	run->first_step = 0;
	b.unique = 1u << 20;
	b.failure = set_up_slots(&b);
	begin = now_ns();
	for (unsigned i = 0; i < run->depth && !b.failure; i++)
		if (next_round(&b, &b.slots[i]))
			advance(&b, i);
	loop(&b);
	run->elapsed_ns = now_ns() - begin;
	free(b.slots);
	free(b.segments);
	if (!b.failure)
		play_rewind(m, mark); /* after a failure the device may still write there */
	return b.failure;
}
