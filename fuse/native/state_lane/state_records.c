/* SPDX-License-Identifier: Apache-2.0
 *
 * Transitions as texts, of the templates of record_texts.h, as fuse/session/record.py makes them; a test compares every kind.
 */
#include "fuse/native/state_lane/state_op.h"

#include <string.h>

static void put_numbers(struct text *t, const struct state_op *op)
{
    const uint8_t *at = op->args;
    for (const char *code = op->row->codes; *code != 0; code++) {
        uint64_t number = 0;
        uint32_t size = *code == 'Q' ? 8 : 4;
        memcpy(&number, at, size); /* little endian: the low bytes come first */
        at += size;
        if (code != op->row->codes)
            text_put(t, ",", 1);
        text_number(t, number);
    }
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "virtio 1 guests and hosts that we build for");

/* An entry of a listing: an auditor can't ask the directory again. */
static void put_listed(struct text *t, const struct state_op *op)
{
    text_string(t, "{\"name\":");
    text_name(t, op->name, op->name_bytes);
    text_string(t, ",\"unique\":");
    text_number(t, op->r->header.unique);
    text_put(t, "}", 1);
}

/* Who asked for what: whole for the first transition of a request, its number for the following ones. */
static void put_request(struct text *t, const struct state_op *op)
{
    const struct lane_in_header *header = &op->r->header;
    if (op->records_n > 0) {
        if (op->listed)
            put_listed(t, op);
        else
            text_number(t, header->unique);
        return;
    }
    text_string(t, "{\"args\":[");
    put_numbers(t, op);
    text_string(t, "],\"gid\":");
    text_number(t, header->gid);
    if (op->row->names > 0 || op->listed) {
        text_string(t, ",\"name\":");
        text_name(t, op->name, op->name_bytes);
    }
    if (op->row->names > 1) {
        text_string(t, ",\"name2\":");
        text_name(t, op->name2, op->name2_bytes);
    }
    text_string(t, ",\"node\":");
    text_number(t, op->nodeid);
    text_string(t, ",\"op\":\"");
    text_string(t, op->row->name);
    text_string(t, "\",\"pid\":");
    text_number(t, header->pid);
    text_string(t, ",\"uid\":");
    text_number(t, header->uid);
    text_string(t, ",\"unique\":");
    text_number(t, header->unique);
    text_put(t, "}", 1);
}

/* What each kind is counted as. */
static const struct {
    uint8_t machine; /* enum state_machine */
    uint8_t event;   /* enum state_event */
} counted_as[RECORD_KINDS] = {
    [RECORD_FIRST_ENTRY] = {MACHINE_INODE, EVENT_ENTRY},
    [RECORD_ENTRY_AGAIN] = {MACHINE_INODE, EVENT_ENTRY},
    [RECORD_LAST_NAME_GONE] = {MACHINE_INODE, EVENT_UNNAMED},
    [RECORD_SOME_FORGOTTEN] = {MACHINE_INODE, EVENT_FORGET},
    [RECORD_ALL_FORGOTTEN] = {MACHINE_INODE, EVENT_FORGET_LAST},
    [RECORD_FILE_OPENED] = {MACHINE_HANDLE, EVENT_OPEN},
    [RECORD_DIRECTORY_OPENED] = {MACHINE_HANDLE, EVENT_OPENDIR},
    [RECORD_FILE_RELEASED] = {MACHINE_HANDLE, EVENT_RELEASE},
    [RECORD_DIRECTORY_RELEASED] = {MACHINE_HANDLE, EVENT_RELEASEDIR},
    [RECORD_MOUNT_MET] = {MACHINE_MOUNT, EVENT_MEET},
    [RECORD_MOUNT_LEFT] = {MACHINE_MOUNT, EVENT_LEAVE},
    [RECORD_SERVED] = {MACHINE_SESSION, EVENT_SESSION},
};

static struct record *next_record(struct state_op *op)
{
    if (op->records_n == op->records_room) {
        op->records_room = op->records_room * 2 + 16;
        op->records = state_grown(op->records, op->records_room * sizeof *op->records);
    }
    return &op->records[op->records_n];
}

/* Fills the kind's template; `numbers` in their order, `inode` a text. */
static void add(struct state_op *op, enum record_kind kind, uint64_t key, const uint64_t *numbers, const char *inode)
{
    struct record *record = next_record(op);
    struct text *t = &op->text;
    const char *at = op->texts->transitions[kind];
    record->from = t->bytes;
    for (const char *mark; (mark = strchr(at, '%')) != NULL; at = mark + 2) {
        text_put(t, at, (size_t)(mark - at));
        switch (mark[1]) {
        case 'k':
            text_number(t, key);
            break;
        case 'r':
            put_request(t, op);
            break;
        case 'n':
            text_number(t, *numbers++);
            break;
        case 't':
            text_string(t, inode);
            break;
        default:
            text_string(t, op->row->name);
        }
    }
    text_string(t, at);
    record->bytes = t->bytes - record->from;
    record->machine = counted_as[kind].machine;
    record->event = counted_as[kind].event;
    record->key = key;
    op->records_n++;
}

void record_inode_put(struct state_op *op, uint64_t nodeid, const char *record)
{
    add(op, RECORD_FIRST_ENTRY, nodeid, NULL, record);
}

void record_inode_add(struct state_op *op, uint64_t nodeid)
{
    add(op, RECORD_ENTRY_AGAIN, nodeid, NULL, NULL);
}

void record_inode_unnamed(struct state_op *op, uint64_t nodeid, int fd)
{
    const uint64_t number = (uint64_t)fd;
    add(op, RECORD_LAST_NAME_GONE, nodeid, &number, NULL);
}

void record_inode_forget(struct state_op *op, uint64_t nodeid, uint64_t nlookup)
{
    add(op, RECORD_SOME_FORGOTTEN, nodeid, &nlookup, NULL);
}

void record_inode_forget_last(struct state_op *op, uint64_t nodeid)
{
    add(op, RECORD_ALL_FORGOTTEN, nodeid, NULL, NULL);
}

void record_handle_put(struct state_op *op, uint64_t fh, int kind, uint64_t nodeid, uint32_t flags, int fd)
{
    const uint64_t numbers[] = {(uint64_t)fd, flags, nodeid};
    add(op, kind == HANDLE_FILE ? RECORD_FILE_OPENED : RECORD_DIRECTORY_OPENED, fh, numbers, NULL);
}

void record_handle_delete(struct state_op *op, uint64_t fh, const struct handle_info *last)
{
    const uint64_t numbers[] = {last->bytes_read, last->bytes_written, last->reads, last->writes};
    add(op, last->kind == HANDLE_FILE ? RECORD_FILE_RELEASED : RECORD_DIRECTORY_RELEASED, fh, numbers, NULL);
}

void record_mount_put(struct state_op *op, uint64_t mnt_id, int fd)
{
    const uint64_t number = (uint64_t)fd;
    bool listed = op->listed;
    op->listed = false;
    add(op, RECORD_MOUNT_MET, mnt_id, &number, NULL);
    op->listed = listed;
}

void record_mount_delete(struct state_op *op, uint64_t mnt_id)
{
    add(op, RECORD_MOUNT_LEFT, mnt_id, NULL, NULL);
}

void record_session(struct state_op *op)
{
    add(op, RECORD_SERVED, 0, NULL, NULL);
}

static uint32_t batch_place(struct state_batch *b)
{
    if (b->n == b->room) {
        b->room = b->room * 2 + 64;
        b->kinds = state_grown(b->kinds, b->room * sizeof *b->kinds);
        b->machines = state_grown(b->machines, b->room * sizeof *b->machines);
        b->keys = state_grown(b->keys, b->room * sizeof *b->keys);
    }
    return b->n++;
}

void records_hand_over(struct state_lane *s, struct state_op *op, const uint8_t *reply, size_t reply_bytes)
{
    struct state_batch *b = &s->batch;
    struct text all = {.at = b->text, .bytes = b->text_bytes, .room = b->text_room};
    for (uint32_t i = 0; i < op->records_n; i++) {
        const struct record *record = &op->records[i];
        uint32_t at = batch_place(b);
        if (all.bytes > 0)
            text_put(&all, ",", 1);
        text_put(&all, op->text.at + record->from, record->bytes);
        if (i == 0 && reply_bytes > 0) {
            text_put(&all, "\"", 1);
            text_base64(&all, reply, reply_bytes);
            text_string(&all, "\"]");
        } else {
            text_string(&all, "null]");
        }
        b->kinds[at] = op->row->kinds[record->event];
        b->machines[at] = record->machine;
        b->keys[at] = record->key;
    }
    b->text = all.at;
    b->text_bytes = all.bytes;
    b->text_room = all.room;
    op->records_n = 0;
    op->text.bytes = 0;
}
