/* Guest memory and split virtqueues, driven as Linux drives them (drivers/virtio/virtio_ring.c, in behaviour). */
#define _GNU_SOURCE
#include "ring.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

struct play_machine *play_new(uint64_t memory_bytes, uint64_t guest_base)
{
	struct play_machine *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->bytes = memory_bytes;
	m->guest_base = guest_base;
	m->allocated = 4096; /* so that no buffer has the very first address */
	m->memory_fd = memfd_create("guest-memory", MFD_CLOEXEC);
	if (m->memory_fd < 0)
		goto no_fd;
	if (ftruncate(m->memory_fd, (off_t)memory_bytes) < 0)
		goto no_map;
	m->memory = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->memory_fd, 0);
	if (m->memory == MAP_FAILED)
		goto no_map;
	return m;
no_map:
	close(m->memory_fd);
no_fd:
	free(m);
	return NULL;
}

void play_free(struct play_machine *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < QUEUES_MAX; i++) {
		struct queue *q = &m->queues[i];

		if (!q->size)
			continue;
		close(q->kick_fd);
		close(q->call_fd);
		free(q->heads);
	}
	munmap(m->memory, m->bytes);
	close(m->memory_fd);
	free(m);
}

int play_memory_fd(const struct play_machine *m) { return m->memory_fd; }
uint8_t *play_memory(const struct play_machine *m) { return m->memory; }
uint64_t play_mark(const struct play_machine *m) { return m->allocated; }
void play_rewind(struct play_machine *m, uint64_t mark) { m->allocated = mark; }

uint8_t *play_at(const struct play_machine *m, uint64_t addr, uint64_t len)
{
	uint64_t offset = addr - m->guest_base;

	if (addr < m->guest_base || offset > m->bytes || len > m->bytes - offset)
		return NULL;
	return m->memory + offset;
}

uint64_t play_allocate(struct play_machine *m, uint64_t bytes, uint64_t align)
{
	uint64_t start = (m->allocated + align - 1) / align * align;

	if (start > m->bytes || bytes > m->bytes - start)
		return 0;
	m->allocated = start + bytes;
	return m->guest_base + start;
}

struct queue *queue_of(const struct play_machine *m, unsigned queue)
{
	if (queue >= QUEUES_MAX || !m->queues[queue].size)
		return NULL;
	return (struct queue *)&m->queues[queue];
}

int play_queue_open(struct play_machine *m, unsigned queue, unsigned size, unsigned indirect_max)
{
	struct queue q = {.size = size, .indirect_max = indirect_max, .kick_fd = -1, .call_fd = -1};

	if (queue >= QUEUES_MAX || m->queues[queue].size)
		return -EBUSY;
	if (!size || size > QUEUE_SIZE_MAX || (size & (size - 1)))
		return -EINVAL;
	q.desc_addr = play_allocate(m, 16ull * size, 4096);
	q.avail_addr = play_allocate(m, 6 + 2ull * size, 4096);
	q.used_addr = play_allocate(m, 6 + 8ull * size, 4096);
	q.tables_addr = play_allocate(m, 16ull * size * indirect_max, 4096);
	q.heads = calloc(size, sizeof(*q.heads));
	q.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!q.desc_addr || !q.avail_addr || !q.used_addr || !q.tables_addr || !q.heads || q.kick_fd < 0 || q.call_fd < 0) {
		if (q.kick_fd >= 0)
			close(q.kick_fd);
		if (q.call_fd >= 0)
			close(q.call_fd);
		free(q.heads);
		return -ENOMEM;
	}
	q.desc = (struct desc *)play_at(m, q.desc_addr, 1);
	q.avail = (struct avail *)play_at(m, q.avail_addr, 1);
	q.used = (struct used *)play_at(m, q.used_addr, 1);
	m->queues[queue] = q;
	return play_queue_reset(m, queue, 1, 1);
}

int play_queue_reset(struct play_machine *m, unsigned queue, int indirect, int event_idx)
{
	struct queue *q = queue_of(m, queue);
	uint64_t drained;

	if (!q)
		return -EINVAL;
	memset(q->desc, 0, 16ul * q->size);
	memset(q->avail, 0, 6 + 2ul * q->size);
	memset(q->used, 0, 6 + 8ul * q->size);
	memset(q->heads, 0, q->size * sizeof(*q->heads));
	for (unsigned i = 0; i < q->size; i++)
		q->heads[i].next = (uint16_t)(i + 1);
	q->free_head = 0;
	q->free_count = (uint16_t)q->size;
	q->avail_idx = q->kicked_idx = q->last_used = 0;
	q->indirect = indirect;
	q->event_idx = event_idx;
	/* Non-blocking: an empty eventfd just answers EAGAIN. */
	if (read(q->kick_fd, &drained, sizeof(drained)) < 0 && errno != EAGAIN)
		return -errno;
	if (read(q->call_fd, &drained, sizeof(drained)) < 0 && errno != EAGAIN)
		return -errno;
	return 0;
}

#define QUEUE_FIELD(type, name, field) \
	type name(const struct play_machine *m, unsigned queue) \
	{ \
		const struct queue *q = queue_of(m, queue); \
		return q ? q->field : (type)0; \
	}
QUEUE_FIELD(uint64_t, play_desc_addr, desc_addr)
QUEUE_FIELD(uint64_t, play_avail_addr, avail_addr)
QUEUE_FIELD(uint64_t, play_used_addr, used_addr)
QUEUE_FIELD(int, play_kick_fd, kick_fd)
QUEUE_FIELD(int, play_call_fd, call_fd)
QUEUE_FIELD(unsigned, play_free_descriptors, free_count)
QUEUE_FIELD(unsigned, play_last_used, last_used)

static uint16_t *used_event(const struct queue *q) { return &q->avail->ring[q->size]; }
static uint16_t *avail_event(const struct queue *q) { return (uint16_t *)&q->used->ring[q->size]; }

static uint16_t take_desc(struct queue *q)
{
	uint16_t index = q->free_head;

	q->free_head = q->heads[index].next;
	q->free_count--;
	return index;
}

static void fill_desc(struct desc *d, const struct play_segment *s, int more, uint16_t next)
{
	d->addr = s->addr;
	d->len = s->len;
	d->flags = (uint16_t)((s->device_writes ? DESC_WRITE : 0) | (more ? DESC_NEXT : 0));
	d->next = more ? next : 0;
}

/* As Linux: a request of more than one piece goes into the head's indirect table, if that was negotiated. */
static int submit_indirect(struct play_machine *m, struct queue *q, const struct play_segment *s, unsigned count)
{
	uint16_t head = take_desc(q);
	uint64_t table_addr = q->tables_addr + 16ull * q->indirect_max * head;
	struct desc *table = (struct desc *)play_at(m, table_addr, 16ull * count);

	for (unsigned i = 0; i < count; i++)
		fill_desc(&table[i], &s[i], i + 1 < count, (uint16_t)(i + 1));
	q->desc[head] = (struct desc){.addr = table_addr, .len = 16 * count, .flags = DESC_INDIRECT};
	q->heads[head].chain = 1;
	return head;
}

static int submit_chain(struct queue *q, const struct play_segment *s, unsigned count)
{
	uint16_t head = q->free_head;

	for (unsigned i = 0; i < count; i++) {
		uint16_t index = take_desc(q);

		fill_desc(&q->desc[index], &s[i], i + 1 < count, q->free_head);
	}
	q->heads[head].chain = (uint16_t)count;
	return head;
}

int play_submit(struct play_machine *m, unsigned queue, const struct play_segment *segments, unsigned count, uint64_t token)
{
	struct queue *q = queue_of(m, queue);
	int indirect = q && q->indirect && count > 1 && count <= q->indirect_max;
	int head;

	if (!q || !count)
		return -EINVAL;
	if (q->free_count < (indirect ? 1u : count))
		return -ENOSPC;
	head = indirect ? submit_indirect(m, q, segments, count) : submit_chain(q, segments, count);
	q->heads[head].token = token;
	q->heads[head].in_flight = 1;
	q->avail->ring[q->avail_idx & (q->size - 1)] = (uint16_t)head;
	q->avail_idx++;
	__atomic_store_n(&q->avail->idx, q->avail_idx, __ATOMIC_RELEASE);
	return head;
}

int play_kick(struct play_machine *m, unsigned queue)
{
	struct queue *q = queue_of(m, queue);
	uint16_t old, now;
	int wanted;

	if (!q)
		return -EINVAL;
	/* The index must be visible before we look whether the device sleeps (VIRTIO 2.7.13.4.1). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	old = q->kicked_idx;
	now = q->kicked_idx = q->avail_idx;
	if (q->event_idx) {
		uint16_t event = __atomic_load_n(avail_event(q), __ATOMIC_RELAXED);

		wanted = (uint16_t)(now - event - 1) < (uint16_t)(now - old);
	} else {
		wanted = !(__atomic_load_n(&q->used->flags, __ATOMIC_RELAXED) & USED_NO_NOTIFY);
	}
	return wanted ? play_raw_kick(m, queue) : 0;
}

int queue_has_used(const struct queue *q)
{
	return __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) != q->last_used;
}

void queue_arm(struct queue *q)
{
	__atomic_store_n(used_event(q), q->last_used, __ATOMIC_RELAXED);
	/* The event must be visible before the used index is looked at again (VIRTIO 2.7.7.2). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void give_back(struct queue *q, uint16_t head)
{
	uint16_t last = head;

	/* The device can't write to this chain: it is taken from q->heads, not from the descriptor table. */
	for (unsigned i = 1; i < q->heads[head].chain; i++)
		last = q->heads[last].next;
	q->heads[last].next = q->free_head;
	q->free_head = head;
	q->free_count = (uint16_t)(q->free_count + q->heads[head].chain);
	q->heads[head].in_flight = 0;
}

int play_reap(struct play_machine *m, unsigned queue, struct play_completion *out, unsigned max)
{
	struct queue *q = queue_of(m, queue);
	unsigned count = 0;

	if (!q)
		return -EINVAL;
	while (count < max && queue_has_used(q)) {
		const struct used_elem *e = &q->used->ring[q->last_used & (q->size - 1)];
		struct play_completion *c = &out[count++];

		*c = (struct play_completion){.head = e->id, .len = e->len};
		q->last_used++;
		if (c->head < q->size && q->heads[c->head].in_flight) {
			c->known = 1;
			c->token = q->heads[c->head].token;
			give_back(q, (uint16_t)c->head);
		}
	}
	return (int)count;
}

int play_wait(struct play_machine *m, unsigned queue, int timeout_ms)
{
	struct queue *q = queue_of(m, queue);
	struct pollfd wait;
	uint64_t drained;

	if (!q)
		return -EINVAL;
	wait = (struct pollfd){.fd = q->call_fd, .events = POLLIN};
	for (;;) {
		int ready;

		queue_arm(q);
		if (queue_has_used(q))
			return 1;
		ready = poll(&wait, 1, timeout_ms);
		if (ready < 0)
			return -errno;
		if (!ready)
			return queue_has_used(q);
		if (read(q->call_fd, &drained, sizeof(drained)) < 0 && errno != EAGAIN)
			return -errno;
	}
}

int play_raw_desc(struct play_machine *m, unsigned queue, unsigned index, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct queue *q = queue_of(m, queue);

	if (!q || index >= q->size)
		return -EINVAL;
	q->desc[index] = (struct desc){.addr = addr, .len = len, .flags = flags, .next = next};
	return 0;
}

int play_raw_avail(struct play_machine *m, unsigned queue, unsigned slot, uint16_t head)
{
	struct queue *q = queue_of(m, queue);

	if (!q || slot >= q->size)
		return -EINVAL;
	q->avail->ring[slot] = head;
	return 0;
}

int play_raw_avail_idx(struct play_machine *m, unsigned queue, uint16_t idx)
{
	struct queue *q = queue_of(m, queue);

	if (!q)
		return -EINVAL;
	q->avail_idx = idx;
	__atomic_store_n(&q->avail->idx, idx, __ATOMIC_SEQ_CST);
	return 0;
}

int play_raw_used_event(struct play_machine *m, unsigned queue, uint16_t idx)
{
	struct queue *q = queue_of(m, queue);

	if (!q)
		return -EINVAL;
	__atomic_store_n(used_event(q), idx, __ATOMIC_SEQ_CST);
	return 0;
}

int play_raw_kick(struct play_machine *m, unsigned queue)
{
	const struct queue *q = queue_of(m, queue);
	uint64_t one = 1;

	if (!q)
		return -EINVAL;
	/* EAGAIN: the counter is full, so the device is being woken anyway. */
	if (write(q->kick_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return -errno;
	return 1;
}

int play_avail_idx(const struct play_machine *m, unsigned queue)
{
	const struct queue *q = queue_of(m, queue);

	return q ? __atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE) : -EINVAL;
}

int play_used_idx(const struct play_machine *m, unsigned queue)
{
	const struct queue *q = queue_of(m, queue);

	return q ? __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) : -EINVAL;
}

int play_avail_event(const struct play_machine *m, unsigned queue)
{
	const struct queue *q = queue_of(m, queue);

	return q ? __atomic_load_n(avail_event(q), __ATOMIC_ACQUIRE) : -EINVAL;
}
