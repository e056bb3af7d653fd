/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/native/commit.h"

#include <endian.h>
#include <sqlite3ext.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

SQLITE_EXTENSION_INIT1

#define INSERT "INSERT INTO commits (seq, first, last, time_ns, body, digest) VALUES (?, ?, ?, ?, ?, ?)"
#define LOOK "SELECT digest FROM commits WHERE seq = ?"
#define NS_PER_S 1000000000ull

struct committer {
    struct commit_end end;
    uint64_t *told;
    struct head_page *shown;
    uint64_t journal;
    sqlite3_stmt *insert;
    sqlite3_stmt *look;
    char *body;
    size_t room;
};

static bool functions; /* of SQLite, are known */
static sqlite3 *caught;

/* Called by SQLite, by this name, when Python loads the extension. */
int sqlite3_extension_init(sqlite3 *connection, char **error, const sqlite3_api_routines *api);
int sqlite3_extension_init(sqlite3 *connection, char **error, const sqlite3_api_routines *api)
{
    SQLITE_EXTENSION_INIT2(api);
    functions = true;
    return SQLITE_OK_LOAD_PERMANENTLY;
}

int commit_ready(void)
{
    return functions;
}

static int remember(sqlite3 *connection, const char **error, const struct sqlite3_api_routines *api)
{
    caught = connection;
    return SQLITE_OK;
}

void commit_catch(void)
{
    caught = NULL;
    if (functions)
        sqlite3_auto_extension((void (*)(void))remember);
}

struct sqlite3 *commit_caught(void)
{
    if (functions)
        sqlite3_cancel_auto_extension((void (*)(void))remember);
    return caught;
}

struct committer *commit_new(struct sqlite3 *connection)
{
    struct committer *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    if (sqlite3_prepare_v2(connection, INSERT, -1, &c->insert, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(connection, LOOK, -1, &c->look, NULL) == SQLITE_OK)
        return c;
    commit_free(c);
    return NULL;
}

void commit_free(struct committer *c)
{
    sqlite3_finalize(c->insert);
    sqlite3_finalize(c->look);
    free(c->body);
    free(c);
}

struct commit_end *commit_end_of(struct committer *c)
{
    return &c->end;
}

void commit_tell(struct committer *c, uint64_t *last)
{
    c->told = last;
}

void commit_show(struct committer *c, struct head_page *page, uint64_t journal)
{
    c->shown = page;
    c->journal = journal;
}

/* A JSON array; its length, or 0 without memory. */
static size_t make_body(struct committer *c, const char *text, uint64_t bytes)
{
    if (bytes + 2 > c->room) {
        size_t room = 2 * (bytes + 2);
        char *grown = realloc(c->body, room);
        if (grown == NULL)
            return 0;
        c->body = grown;
        c->room = room;
    }
    c->body[0] = '[';
    memcpy(c->body + 1, text, bytes);
    c->body[bytes + 1] = ']';
    return bytes + 2;
}

/* As journal.chain.link. */
static void chain(const struct commit_end *before, struct commit_end *now, uint64_t time_ns, const char *body, size_t bytes)
{
    struct blake2b b;
    const uint64_t head[4] = {htole64(now->seq), htole64(before->last + 1), htole64(now->last), htole64(time_ns)};
    blake2b_begin(&b, BLAKE2B_DIGEST_BYTES);
    blake2b_add(&b, before->digest, sizeof before->digest);
    blake2b_add(&b, head, sizeof head);
    blake2b_add(&b, body, bytes);
    blake2b_end(&b, now->digest);
}

/* A failed statement normally wrote nothing; to write a row twice would break the chain. */
static bool is_there(struct committer *c, const struct commit_end *now)
{
    sqlite3_bind_int64(c->look, 1, (sqlite3_int64)now->seq);
    bool there = sqlite3_step(c->look) == SQLITE_ROW && sqlite3_column_bytes(c->look, 0) == sizeof now->digest &&
                 memcmp(sqlite3_column_blob(c->look, 0), now->digest, sizeof now->digest) == 0;
    sqlite3_reset(c->look);
    return there;
}

static int insert(struct committer *c, const struct commit_end *now, uint64_t time_ns, size_t bytes)
{
    sqlite3_bind_int64(c->insert, 1, (sqlite3_int64)now->seq);
    sqlite3_bind_int64(c->insert, 2, (sqlite3_int64)c->end.last + 1);
    sqlite3_bind_int64(c->insert, 3, (sqlite3_int64)now->last);
    sqlite3_bind_int64(c->insert, 4, (sqlite3_int64)time_ns);
    int rc = sqlite3_bind_text64(c->insert, 5, c->body, bytes, SQLITE_STATIC, SQLITE_UTF8);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob(c->insert, 6, now->digest, sizeof now->digest, SQLITE_STATIC);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(c->insert);
    sqlite3_reset(c->insert);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int commit_batch(void *committer, const char *text, uint64_t bytes, uint32_t transitions)
{
    struct committer *c = committer;
    struct commit_end now = {.seq = c->end.seq + 1, .last = c->end.last + transitions};
    struct timespec clock;
    size_t length = make_body(c, text, bytes);
    if (length == 0)
        return -1;
    clock_gettime(CLOCK_REALTIME, &clock);
    uint64_t time_ns = (uint64_t)clock.tv_sec * NS_PER_S + (uint64_t)clock.tv_nsec;
    chain(&c->end, &now, time_ns, c->body, length);
    int rc = insert(c, &now, time_ns, length);
    if (rc != SQLITE_OK && !is_there(c, &now))
        return rc;
    c->end = now;
    if (c->told != NULL)
        __atomic_store_n(c->told, now.last, __ATOMIC_RELAXED);
    if (c->shown != NULL)
        head_store(c->shown, c->journal, &now);
    return 0;
}
