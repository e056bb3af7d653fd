/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's tables as the interpreter calls them. See inodes.h, handles.h, mounts.h for what each does.
 */
#ifndef STEADFS_TABLES_H
#define STEADFS_TABLES_H

#include "fuse/native/host/hostcalls.h"

/* cdef begin */
/* More than are loaded at once (RECORDS_AT_ONCE of fuse/recovery/loading.py). */
#define LOAD_FDS_MAX 8192

enum table_load_what { LOAD_INODES = 0, LOAD_HANDLES = 1 };

struct table_loaded {
    uint64_t records;
    uint64_t last_key; /* after an error: the key of the record that was refused */
    uint32_t fds_n;
    int32_t fds[LOAD_FDS_MAX]; /* the descriptors that the records name */
};

/* For table_take; `loaded` is emptied by who reads it. */
struct table_taker {
    struct host *host;
    int what;
    struct table_loaded loaded;
};

struct host_sums {
    uint32_t inodes;
    uint32_t handles;
    uint32_t mounts;
    uint32_t cached_fds;
    uint64_t cache_opens;
};

void host_settings(struct host *h, int use_handles, int announce_submounts);
void host_sums(struct host *h, struct host_sums *sums);

int table_mount_add(struct host *h, uint64_t mnt_id, int fd);
void table_mount_remove(struct host *h, uint64_t mnt_id);
/* A file on a mount met for the first time, whose files can be held by handles: the mount enters the table. Its descriptor
 * (the table's, to be recorded), or a negative number when there is nothing to record. */
int table_mount_meet(struct host *h, const struct found *f);
/* A mount on which no inode is left goes out of the table: its id (to be recorded), or 0: there is none, or that isn't known before
 * all inodes are loaded. */
uint64_t table_mount_leave(struct host *h);
/* The table's descriptor, or -ENOENT. */
int table_mount_fd(struct host *h, uint64_t mnt_id);
int table_inode_add(struct host *h, const struct inode_info *info);
/* inode_add of what f describes; takes f->fd over on success and sets it to -1. */
int table_inode_add_found(struct host *h, uint64_t nodeid, uint64_t nlookup, int kind, struct found *f);
int table_inode_delete(struct host *h, uint64_t nodeid);
int64_t table_inode_nlookup_add(struct host *h, uint64_t nodeid, int64_t n);
uint64_t table_inode_find(struct host *h, const struct found *f);
/* One lookup count for what f describes. Known: counted, f->fd closed, its nodeid returned. New: added as `nodeid`, f->fd
 * taken over, 0 returned, and its record as the journal keeps it given by table_entered. -EAGAIN: its mount has to be met
 * first (not with `no_meeting`: then a descriptor holds it, or -EOPNOTSUPP if handles are mandatory). Or inode_add's error.
 */
int64_t table_inode_enter(struct host *h, uint64_t nodeid, struct found *f, int no_meeting, int mandatory);
/* Canonical JSON, valid until the next table_inode_enter. */
const char *table_entered(struct host *h);
/* Adds the records of a checkpoint's text (see load.c). 0; -EBADMSG: no such text; -E2BIG; or the error of inode_add or
 * handle_add. After an error the tables hold what came before it. */
int table_load(struct host *h, int what, const char *text, size_t len, struct table_loaded *loaded);
/* The same with the record of one key; `taker` is a struct table_taker. */
int table_take(void *taker, uint64_t key, const char *text, size_t len);
/* See missing.h. */
void table_missing_begin(struct host *h, missing_fetch *fetch, void *context);
void table_missing_end(struct host *h);
uint32_t table_missing_questions(struct host *h, uint64_t nodeids[static MISSING_QUESTIONS]);
void table_missing_answered(struct host *h, uint32_t n);
int table_inode_get(struct host *h, uint64_t nodeid, struct inode_info *info);
uint32_t table_inode_list(struct host *h, uint32_t *cursor, struct inode_info *infos, uint32_t max);
int table_handle_add(struct host *h, const struct handle_info *info);
/* 0, or -EBADF: unknown, or not of that kind. */
int table_handle_delete(struct host *h, uint64_t fh, int kind, struct handle_info *last);
int table_handle_get(struct host *h, uint64_t fh, struct handle_info *info);
uint32_t table_handle_list(struct host *h, uint32_t *cursor, struct handle_info *infos, uint32_t max);
uint32_t table_inodes(struct host *h);
uint32_t table_handles(struct host *h);
/* What was deleted is committed: its descriptors may go. */
void table_settle(struct host *h);
/* A session's end: no handles, no inodes but keep_nodeid, no mounts but keep_mnt_id (0: none). Settles too. */
void table_clear(struct host *h, uint64_t keep_nodeid, uint64_t keep_mnt_id);
/* cdef end */

#endif
