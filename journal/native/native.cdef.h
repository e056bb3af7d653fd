/* SPDX-License-Identifier: Apache-2.0
 * What Python sees of journal/native; cffi compares it with the headers when it builds.
 */
struct sqlite3;
struct committer;

struct commit_end {
    uint64_t seq;
    uint64_t last;
    uint8_t digest[32];
};

int commit_ready(void);
void commit_catch(void);
struct sqlite3 *commit_caught(void);
struct committer *commit_new(struct sqlite3 *connection);
void commit_free(struct committer *c);
struct commit_end *commit_end_of(struct committer *c);
void commit_tell(struct committer *c, uint64_t *last);
int commit_batch(void *committer, const char *text, uint64_t bytes, uint32_t transitions);

typedef int records_take(void *taker, uint64_t key, const char *text, size_t bytes);

struct records_given {
    int64_t last;
    uint32_t rows;
    int sqlite;
    int refused;
    int is_damaged;
};

void records_give(struct sqlite3 *connection, const char *sql, int64_t beyond, int64_t highest, uint32_t most,
               const int64_t *skipped, uint32_t skipped_n, records_take *take, void *taker, struct records_given *given);
