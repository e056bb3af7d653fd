/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of a checkpoint table from SQLite straight into a live table, each compared with its digest: for a thousand of them
 * a guest waits half a millisecond, where text that SQLite joins for the interpreter takes two, unchecked.
 */
#ifndef STEADFS_LEFT_H
#define STEADFS_LEFT_H

#include <stddef.h>
#include <stdint.h>

struct sqlite3;

/* cdef begin */
/* Takes one record: 0, or a negative number, which ends it. Text and length are SQLite's. */
typedef int left_take(void *taker, uint64_t key, const char *text, size_t bytes);

struct left_given {
    int64_t last;   /* the key (as stored) of the last row that was looked at */
    uint32_t rows;  /* how many were */
    int sqlite;     /* code of SQLite that ended it, or 0 */
    int refused;    /* what `take` said to row `last`, or 0 */
    int is_damaged; /* row `last` is not as it was written */
};

/* The rows of `sql` (key, seq, record, digest, in order of keys; its parameters are a key that is less than all of them, the
 * highest, and how many at most), but for those whose keys are `skipped`, which are in order too.
 */
void left_give(struct sqlite3 *connection, const char *sql, int64_t beyond, int64_t highest, uint32_t most,
               const int64_t *skipped, uint32_t skipped_n, left_take *take, void *taker, struct left_given *given);
/* cdef end */

#endif
