/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/native/records.h"
#include "journal/native/blake2b.h"

#include <endian.h>
#include <sqlite3ext.h>
#include <stdbool.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

enum column { KEY, SEQ, RECORD, DIGEST };
enum { RECORD_DIGEST_BYTES = 16 };

/* As journal.record_digest. */
static bool is_intact(sqlite3_stmt *row, int64_t key, const char *text, size_t bytes)
{
    struct blake2b b;
    uint8_t expected[BLAKE2B_DIGEST_BYTES];
    const uint64_t head[2] = {htole64((uint64_t)key), htole64((uint64_t)sqlite3_column_int64(row, SEQ))};
    const uint8_t is_record = 1;
    const void *digest = sqlite3_column_blob(row, DIGEST);
    if (sqlite3_column_bytes(row, DIGEST) != RECORD_DIGEST_BYTES)
        return false;
    blake2b_begin(&b, RECORD_DIGEST_BYTES);
    blake2b_add(&b, head, sizeof head);
    blake2b_add(&b, &is_record, sizeof is_record);
    blake2b_add(&b, text, bytes);
    blake2b_end(&b, expected);
    return memcmp(expected, digest, RECORD_DIGEST_BYTES) == 0;
}

static bool give(sqlite3_stmt *row, records_take *take, void *taker, struct records_given *given)
{
    const char *text = (const char *)sqlite3_column_text(row, RECORD);
    size_t bytes = (size_t)sqlite3_column_bytes(row, RECORD);
    given->is_damaged = !is_intact(row, given->last, text, bytes);
    if (!given->is_damaged)
        given->refused = take(taker, (uint64_t)given->last, text, bytes);
    return !given->is_damaged && given->refused >= 0;
}

void records_give(struct sqlite3 *connection, const char *sql, int64_t beyond, int64_t highest, uint32_t most,
               const int64_t *skipped, uint32_t skipped_n, records_take *take, void *taker, struct records_given *given)
{
    sqlite3_stmt *row;
    uint32_t passed = 0;
    bool good = true;
    *given = (struct records_given){.last = beyond};
    given->sqlite = sqlite3_prepare_v2(connection, sql, -1, &row, NULL);
    if (given->sqlite != SQLITE_OK)
        return;
    sqlite3_bind_int64(row, 1, beyond);
    sqlite3_bind_int64(row, 2, highest);
    sqlite3_bind_int64(row, 3, most);
    while (good && (given->sqlite = sqlite3_step(row)) == SQLITE_ROW) {
        given->last = sqlite3_column_int64(row, KEY);
        given->rows++;
        while (passed < skipped_n && skipped[passed] < given->last)
            passed++;
        if (passed == skipped_n || skipped[passed] != given->last)
            good = give(row, take, taker, given);
    }
    if (given->sqlite == SQLITE_ROW || given->sqlite == SQLITE_DONE)
        given->sqlite = SQLITE_OK;
    sqlite3_finalize(row);
}
