/* SPDX-License-Identifier: Apache-2.0
 *
 * Transitions as texts, the same as fuse/session/record.py makes them; a test compares every kind.
 */
#include "fuse/native/state_lane/state_op.h"

#include <stdio.h>

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

/* `head`: `["inode",`; `event`: `,"entry","absent","live",`; `verb`: `,[["put","inode",`, up to the second key. */
static struct text *begin(struct state_op *op, const char *head, uint64_t key, const char *event)
{
    struct text *t = &op->text;
    if (op->records_n == op->records_room) {
        op->records_room = op->records_room * 2 + 16;
        op->records = state_grown(op->records, op->records_room * sizeof *op->records);
    }
    op->records[op->records_n].from = t->bytes;
    text_string(t, head);
    text_number(t, key);
    text_string(t, event);
    put_request(t, op);
    return t;
}

static void end(struct state_op *op, enum state_machine machine, uint64_t key, enum state_event event)
{
    struct record *record = &op->records[op->records_n++];
    record->bytes = op->text.bytes - record->from;
    record->machine = (uint8_t)machine;
    record->event = (uint8_t)event;
    record->key = key;
}

void record_inode_put(struct state_op *op, uint64_t nodeid, const char *record)
{
    struct text *t = begin(op, "[\"inode\",", nodeid, ",\"entry\",\"absent\",\"live\",");
    text_string(t, ",[[\"put\",\"inode\",");
    text_number(t, nodeid);
    text_put(t, ",", 1);
    text_string(t, record);
    text_string(t, "]],");
    end(op, MACHINE_INODE, nodeid, EVENT_ENTRY);
}

void record_inode_add(struct state_op *op, uint64_t nodeid)
{
    struct text *t = begin(op, "[\"inode\",", nodeid, ",\"entry\",\"live\",\"live\",");
    text_string(t, ",[[\"add\",\"inode\",");
    text_number(t, nodeid);
    text_string(t, ",{\"nlookup\":1}]],");
    end(op, MACHINE_INODE, nodeid, EVENT_ENTRY);
}

void record_inode_forget(struct state_op *op, uint64_t nodeid, uint64_t nlookup)
{
    struct text *t = begin(op, "[\"inode\",", nodeid, ",\"forget\",\"live\",\"live\",");
    text_string(t, ",[[\"add\",\"inode\",");
    text_number(t, nodeid);
    text_string(t, ",{\"nlookup\":-");
    text_number(t, nlookup);
    text_string(t, "}]],");
    end(op, MACHINE_INODE, nodeid, EVENT_FORGET);
}

void record_inode_forget_last(struct state_op *op, uint64_t nodeid)
{
    struct text *t = begin(op, "[\"inode\",", nodeid, ",\"forget_last\",\"live\",\"absent\",");
    text_string(t, ",[[\"delete\",\"inode\",");
    text_number(t, nodeid);
    text_string(t, "]],");
    end(op, MACHINE_INODE, nodeid, EVENT_FORGET_LAST);
}

void record_handle_put(struct state_op *op, uint64_t fh, int kind, uint64_t nodeid, uint32_t flags, int fd)
{
    bool file = kind == HANDLE_FILE;
    struct text *t = begin(op, "[\"handle\",", fh,
                           file ? ",\"open\",\"absent\",\"file\"," : ",\"opendir\",\"absent\",\"directory\",");
    text_string(t, ",[[\"put\",\"handle\",");
    text_number(t, fh);
    text_string(t, ",{\"fd\":");
    text_number(t, (uint64_t)fd);
    text_string(t, ",\"flags\":");
    text_number(t, flags);
    text_string(t, ",\"nodeid\":");
    text_number(t, nodeid);
    text_string(t, file ? ",\"state\":\"file\"}]]," : ",\"state\":\"directory\"}]],");
    end(op, MACHINE_HANDLE, fh, file ? EVENT_OPEN : EVENT_OPENDIR);
}

void record_handle_delete(struct state_op *op, uint64_t fh, const struct handle_info *last)
{
    bool file = last->kind == HANDLE_FILE;
    struct text *t = begin(op, "[\"handle\",", fh,
                           file ? ",\"release\",\"file\",\"absent\"," : ",\"releasedir\",\"directory\",\"absent\",");
    text_string(t, ",[[\"delete\",\"handle\",");
    text_number(t, fh);
    text_string(t, ",{\"bytes_read\":");
    text_number(t, last->bytes_read);
    text_string(t, ",\"bytes_written\":");
    text_number(t, last->bytes_written);
    text_string(t, ",\"reads\":");
    text_number(t, last->reads);
    text_string(t, ",\"writes\":");
    text_number(t, last->writes);
    text_string(t, "}]],");
    end(op, MACHINE_HANDLE, fh, file ? EVENT_RELEASE : EVENT_RELEASEDIR);
}

void record_mount_put(struct state_op *op, uint64_t mnt_id, int fd)
{
    bool listed = op->listed;
    op->listed = false;
    struct text *t = begin(op, "[\"mount\",", mnt_id, ",\"meet\",\"unknown\",\"known\",");
    op->listed = listed;
    text_string(t, ",[[\"put\",\"mount\",");
    text_number(t, mnt_id);
    text_string(t, ",{\"fd\":");
    text_number(t, (uint64_t)fd);
    text_string(t, ",\"state\":\"known\"}]],");
    end(op, MACHINE_MOUNT, mnt_id, EVENT_MEET);
}

void record_session(struct state_op *op)
{
    struct text *t = &op->text;
    char event[64];
    snprintf(event, sizeof event, ",\"%s\",\"ready\",\"ready\",", op->row->name);
    begin(op, "[\"session\",", 0, event);
    text_string(t, ",[],");
    end(op, MACHINE_SESSION, 0, EVENT_SESSION);
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
