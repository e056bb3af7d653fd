/* SPDX-License-Identifier: Apache-2.0
 *
 * journal/native with SQLite linked to it (SQLITE_CORE), under sanitizers: texts of random lengths, each in an allocation of
 * exactly its size, on a database that is full now and then. What is in the table at the end must be what was told to be.
 *
 * Usage: commit_fuzz ROUNDS SEED
 */
#include "journal/native/commit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE "CREATE TABLE commits (seq INTEGER PRIMARY KEY, first, last, time_ns, digest BLOB, body TEXT)"
#define CHECK "SELECT count(*), max(last), sum(length(body)), sum(last - first + 1) FROM commits"
#define LONG_BYTES 200000u

static void die(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(sqlite3_errmsg(db));
}

static size_t length_of(void)
{
    return random() % 50 == 0 ? (size_t)random() % LONG_BYTES : (size_t)random() % 600;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        die("usage: commit_fuzz ROUNDS SEED");
    sqlite3 *db;
    uint64_t told = 0, commits = 0, last = 0, bytes = 0, refused = 0;
    srandom((unsigned)atoi(argv[2]));
    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        die("open");
    run(db, TABLE);
    struct committer *c = commit_new(db);
    if (c == NULL)
        die("commit_new");
    commit_tell(c, &told);
    for (int i = 0; i < atoi(argv[1]); i++) {
        if (random() % 40 == 0)
            run(db, "PRAGMA max_page_count=1"); /* as few as it has */
        else if (random() % 10 == 0)
            run(db, "PRAGMA max_page_count=1000000");
        size_t length = length_of();
        uint32_t transitions = 1 + (uint32_t)random() % 64;
        char *text = malloc(length > 0 ? length : 1);
        memset(text, 'a' + i % 26, length);
        int rc = commit_batch(c, text, length, transitions);
        free(text);
        refused += rc != 0;
        commits += rc == 0;
        last += rc == 0 ? transitions : 0;
        bytes += rc == 0 ? length + 2 : 0;
        if (commit_end_of(c)->seq != commits || commit_end_of(c)->last != last || told != last)
            die("the end is elsewhere");
    }
    sqlite3_stmt *check;
    if (sqlite3_prepare_v2(db, CHECK, -1, &check, NULL) != SQLITE_OK || sqlite3_step(check) != SQLITE_ROW)
        die("check");
    for (int column = 0; column < 4; column++) {
        uint64_t expected[4] = {commits, last, bytes, last};
        if ((uint64_t)sqlite3_column_int64(check, column) != expected[column])
            die("the table holds something else");
    }
    sqlite3_finalize(check);
    commit_free(c);
    if (sqlite3_close(db) != SQLITE_OK)
        die("a statement is left");
    printf("%s\n", commits > 0 && refused > 0 ? "some committed, some refused" : "one way only");
    return 0;
}
