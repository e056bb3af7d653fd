/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads READ, GETATTR and WRITE through the native lane while the tables' writer deletes what they use and opens other
 * files on the freed descriptor numbers. Built with a sanitizer; run by tests/unit/host/test_tables_threads.py.
 *
 * Every file holds its own nodeid, repeated. A READ that succeeds must show nothing but the nodeid that it asked for:
 * a descriptor number used again too early would show another one.
 *
 * Usage: file_race DIRECTORY ROUNDS fd|handle
 */
#include "fuse/native/data_lane/lane_fuse.h"
#include "fuse/native/host/host_tables.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READERS 4
#define FILES 24u
#define CACHE_FDS 5 /* far fewer than files: the clock turns all the time */
#define WORDS 64

static struct host *host;
static struct lane_ops *ops;
static _Atomic uint64_t newest; /* nodeids and fhs up to here were given */
static _Atomic bool done;
static _Atomic uint64_t good, refused;

static void fail(const char *what, int rc)
{
    fprintf(stderr, "%s: %d (%s)\n", what, rc, strerror(rc < 0 ? -rc : rc));
    exit(1);
}

struct message {
    struct lane_in_header header;
    union {
        struct wire_read_in read;
        struct wire_getattr_in getattr;
    } arg;
};

static int call(uint32_t opcode, uint64_t nodeid, struct message *m, uint32_t arg_bytes, void *body, uint32_t room)
{
    struct lane_out_header out = {0};
    uint32_t total = (uint32_t)sizeof m->header + arg_bytes;
    m->header = (struct lane_in_header){.len = total, .opcode = opcode, .unique = 1, .nodeid = nodeid};
    struct iovec dst[2] = {{&out, sizeof out}, {body, room}};
    struct lane_request r = {.header = m->header, .in = (const uint8_t *)m, .in_len = total, .in_total = total,
                             .dst = dst, .dst_n = 2, .dst_len = sizeof out + room};
    struct lane_verdict verdict;
    ops->classify(ops->ctx, &r.header, total, &verdict);
    if (verdict.kind != LANE_DATA)
        fail("classify", verdict.error);
    if (ops->execute(ops->ctx, &r, false) == LANE_BLOCK)
        ops->execute(ops->ctx, &r, true);
    return r.error;
}

static void look(uint64_t n)
{
    uint64_t words[WORDS];
    struct message m = {.arg.read = {.fh = n, .size = sizeof words}};
    int error = call(15, n, &m, sizeof m.arg.read, words, sizeof words);
    if (error != 0 && error != EBADF)
        fail("READ", error);
    for (int i = 0; error == 0 && i < WORDS; i++)
        if (words[i] != n)
            fail("READ gave another file's data", (int)words[i]);
    atomic_fetch_add(error == 0 ? &good : &refused, 1);
    struct wire_attr_out attr;
    m = (struct message){.arg.getattr = {0}};
    error = call(3, n, &m, sizeof m.arg.getattr, &attr, sizeof attr);
    if (error != 0 && error != EBADF && error != ESTALE)
        fail("GETATTR", error);
    /* The size is the nodeid's too. */
    if (error == 0 && attr.attr.size != sizeof words + n)
        fail("GETATTR gave another file's size", (int)attr.attr.size);
}

static void *reader(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    while (!atomic_load(&done)) {
        uint64_t top = atomic_load(&newest);
        uint64_t back = (uint64_t)rand_r(&seed) % (FILES + 4);
        if (top > back + 1)
            look(top - back);
    }
    return NULL;
}

static void make(int dir, uint64_t n, int kind)
{
    char name[32];
    uint64_t words[WORDS];
    for (int i = 0; i < WORDS; i++)
        words[i] = n;
    snprintf(name, sizeof name, "%llu", (unsigned long long)n);
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, words, sizeof words) != (ssize_t)sizeof words || ftruncate(fd, (off_t)(sizeof words + n)) < 0)
        fail("making a file", -errno);
    struct found f = {.fd = -1};
    int rc = host_open_path(host, dir, name, 0, &f);
    if (rc < 0)
        fail("open_path", rc);
    if ((rc = table_inode_add_found(host, n, 1, kind, &f)) < 0)
        fail("inode_add", rc);
    struct handle_info info = {.fh = n, .nodeid = n, .fd = fd, .kind = HANDLE_FILE};
    if ((rc = table_handle_add(host, &info)) < 0)
        fail("handle_add", rc);
    atomic_store(&newest, n);
}

/* As UNLINK does it: the inode is held by its descriptor from then on, which other threads go on using. */
static void unlink_known(int dir, const char *name, uint64_t n)
{
    struct stat st;
    struct found none = {.fd = -1};
    int32_t fd = -1;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || host_watch(host, st.st_dev, st.st_ino) < 0)
        fail("watch", (int)n);
    bool by_handle = host->watched_n != 0;
    if (unlinkat(dir, name, 0) < 0)
        fail("unlink", -errno);
    uint64_t nodeid = host_unnamed(host, &fd);
    if (by_handle ? nodeid != n || fd < 0 : nodeid != 0)
        fail("not held without a name", (int)n);
    host_let_go(host, &none, NULL, 0);
}

static void drop(int dir, uint64_t n)
{
    char name[32];
    struct handle_info last;
    snprintf(name, sizeof name, "%llu", (unsigned long long)n);
    if (n % 2 == 0)
        unlink_known(dir, name, n);
    if (table_handle_delete(host, n, HANDLE_FILE, &last) < 0 || table_inode_delete(host, n) < 0)
        fail("delete", (int)n);
    if (n % 3 == 0)
        table_settle(host);
    if (n % 2 != 0 && unlinkat(dir, name, 0) < 0)
        fail("unlink", -errno);
}

static struct lane *lane_with_rows(void)
{
    struct lane *lane = lane_new(host);
    uint32_t head = sizeof(struct lane_in_header);
    struct lane_row read = {.kind = LANE_DATA, .op = OP_READ, .in_min = head + 40, .head_bytes = head + 40};
    struct lane_row getattr = {.kind = LANE_DATA, .op = OP_GETATTR, .in_min = head + 16, .head_bytes = head + 16};
    if (lane_set_row(lane, 15, &read) < 0 || lane_set_row(lane, 3, &getattr) < 0)
        fail("lane_set_row", 0);
    lane_set_ready(lane, 1);
    return lane;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int kind = strcmp(argv[3], "handle") == 0 ? INODE_HANDLE : INODE_FD;
    uint64_t rounds = strtoull(argv[2], NULL, 10);
    host = host_new(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC), 1000, 1000, CACHE_FDS, 0);
    if (dir < 0 || host == NULL)
        fail("start", -errno);
    int64_t room = host_fds_room(host);
    host_settings(host, 1, 0);
    struct found f;
    if (host_identify(host, dir, &f) < 0 || table_mount_add(host, f.mnt_id, dup(dir)) < 0)
        fail("mount", -errno);
    struct lane *lane = lane_with_rows();
    ops = (struct lane_ops *)(uintptr_t)lane_ops_address(lane);
    pthread_t threads[READERS];
    for (uintptr_t i = 0; i < READERS; i++)
        pthread_create(&threads[i], NULL, reader, (void *)(i + 1));
    for (uint64_t n = 1; n <= rounds; n++) {
        make(dir, n, kind);
        if (n > FILES)
            drop(dir, n - FILES);
        if (n % 500 == 0) {
            table_clear(host, 0, f.mnt_id);
            for (uint64_t left = n + 1 > FILES ? n - FILES + 1 : 1; left <= n; left++) {
                char name[32];
                snprintf(name, sizeof name, "%llu", (unsigned long long)left);
                unlinkat(dir, name, 0);
            }
            for (uint64_t again = n + 1; again <= n + FILES && again <= rounds; again++)
                make(dir, again, kind);
            n += FILES;
        }
    }
    atomic_store(&done, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    struct host_sums sums;
    host_sums(host, &sums);
    if (sums.cached_fds > CACHE_FDS)
        fail("cache bound", (int)sums.cached_fds);
    table_clear(host, 0, 0);
    if (host_fds_room(host) != room)
        fail("descriptors miscounted", (int)(room - host_fds_room(host)));
    lane_free(lane);
    host_free(host);
    printf("good %llu refused %llu opened by handle %llu\n", (unsigned long long)good, (unsigned long long)refused,
           (unsigned long long)sums.cache_opens);
    return good == 0;
}
