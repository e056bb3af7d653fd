/* SPDX-License-Identifier: Apache-2.0
 *
 * The commit of a batch of transitions in C, on the connection that the interpreter's sqlite3 module has opened: one row of
 * `commits`, with the digest that chains it to the one before. Everything else that is done to a journal is Python's.
 *
 * How it comes by the connection: as a loadable extension (https://www.sqlite.org/loadext.html) it is handed the functions of
 * the very library that the module uses, and as an automatic extension each connection that is opened while it catches.
 * No symbol of SQLite is linked. One thread uses connection and committer, the interpreter's.
 */
#ifndef STEADFS_COMMIT_H
#define STEADFS_COMMIT_H

#include "journal/native/head.h"

/* cdef begin */
struct sqlite3;

struct committer;

/* Whether the library's functions were handed in. */
int commit_ready(void);
/* From here to commit_caught the connection opened last is remembered. */
void commit_catch(void);
struct sqlite3 *commit_caught(void);

/* NULL when out of memory, or when the table isn't there. To be freed before the connection is closed. */
struct committer *commit_new(struct sqlite3 *connection);
void commit_free(struct committer *c);
struct commit_end *commit_end_of(struct committer *c);
/* Where to store the last transition's number after each commit; NULL: nowhere. */
void commit_tell(struct committer *c, uint64_t *last);
/* Where to store the end after each commit, for the sealer (head.h); NULL: nowhere. */
void commit_show(struct committer *c, struct head_page *page, uint64_t journal);
/* One row with `transitions` transitions, their JSON joined by commas; 0, and the end moves on. Else the code of SQLite, or -1
 * without memory: nothing was written then, as far as the database could be asked. `committer` is a struct committer. */
int commit_batch(void *committer, const char *text, uint64_t bytes, uint32_t transitions);
/* cdef end */

#endif
