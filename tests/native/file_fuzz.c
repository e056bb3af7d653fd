/* SPDX-License-Identifier: Apache-2.0
 *
 * Every executor of the native lane with arguments that a hostile guest might send: random, or nearly right. Built with
 * address and undefined-behaviour sanitizers; run by tests/unit/host/test_tables_threads.py. Request and reply lie in
 * allocations of exactly their size, so that a byte read or written beyond them is seen.
 *
 * Usage: file_fuzz DIRECTORY ROUNDS SEED
 */
#include "fuse/native/data_lane/lane_fuse.h"
#include "fuse/native/data_lane/lane_op.h"
#include "fuse/native/host/host_tables.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ARG_MAX_BYTES 400u
#define REPLY_MAX_BYTES 9000u
#define PIECES 5u
#define FILE_MAX_BYTES (1u << 20)

static uint64_t state;

static uint64_t random64(void)
{
    state += 0x9e3779b97f4a7c15u;
    uint64_t x = state;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Numbers that matter: small, at the edges, nodeids and fhs that exist (1 to 4). */
static uint64_t likely(void)
{
    switch (random64() % 6) {
    case 0:
        return random64();
    case 1:
        return UINT64_MAX - random64() % 3;
    case 2:
        return ((uint64_t)1 << random64() % 64) - random64() % 2;
    default:
        return random64() % 6;
    }
}

static void die(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* The argument: eight-byte or four-byte likely numbers, then noise; some of it text with or without NUL. */
static void fill(uint8_t *to, uint32_t len)
{
    for (uint32_t at = 0; at < len;) {
        uint64_t v = random64() % 3 != 0 ? likely() : (uint64_t)(uint32_t)likely() << 32 | (uint32_t)likely();
        uint32_t n = len - at < 8 ? len - at : 8;
        memcpy(to + at, &v, n);
        at += n;
    }
}

/* Lengths that a file system would try to allocate become small ones; those beyond all reason stay. */
static void spare_the_disk(uint8_t *message, uint32_t len)
{
    struct wire_fallocate_in arg;
    if (len < IN_HEAD + sizeof arg)
        return;
    memcpy(&arg, message + IN_HEAD, sizeof arg);
    if (arg.length < (uint64_t)1 << 62)
        arg.length &= FILE_MAX_BYTES - 1;
    memcpy(message + IN_HEAD, &arg, sizeof arg);
}

static uint32_t pieces(uint8_t *base, uint64_t len, struct iovec *iov)
{
    uint32_t n = 0;
    while (n < PIECES - 1 && len != 0 && random64() % 2) {
        size_t part = (size_t)(random64() % (len + 1));
        iov[n++] = (struct iovec){base, part};
        base += part;
        len -= part;
    }
    iov[n++] = (struct iovec){base, (size_t)len};
    return n;
}

static void one(struct lane *lane, struct lane_ops *ops, uint32_t op)
{
    uint32_t total = IN_HEAD + (uint32_t)(random64() % ARG_MAX_BYTES);
    struct lane_row row = {.kind = LANE_DATA, .op = op, .in_min = UINT32_MAX, .head_bytes = UINT32_MAX};
    if (lane_set_row(lane, op, &row) < 0)
        die("lane_set_row");
    uint8_t *memory = malloc(total);
    fill(memory, total);
    if (op == OP_FALLOCATE)
        spare_the_disk(memory, total);
    struct lane_request r = {.header = {.len = total, .opcode = op, .unique = random64(), .nodeid = likely(),
                                        .uid = (uint32_t)likely(), .gid = (uint32_t)likely()}};
    memcpy(memory, &r.header, sizeof r.header);
    r.in_total = total;
    r.in_len = IN_HEAD + (uint32_t)(random64() % (total - IN_HEAD + 1));
    if (random64() % 4 != 0)
        r.in_len = total;
    uint8_t *in = malloc(r.in_len);
    memcpy(in, memory, r.in_len);
    r.in = in;
    struct iovec src[PIECES], dst[PIECES];
    r.src = src;
    r.src_n = pieces(memory + r.in_len, total - r.in_len, src);
    r.dst_len = random64() % 4 == 0 ? random64() % 40 : random64() % REPLY_MAX_BYTES;
    uint8_t *reply = malloc(r.dst_len + 1);
    r.dst = dst;
    r.dst_n = pieces(reply, r.dst_len, dst);
    if (ops->execute(ops->ctx, &r, false) == LANE_BLOCK && ops->execute(ops->ctx, &r, true) == LANE_BLOCK)
        die("blocked in the pool");
    if (r.reply_len > r.dst_len)
        die("a reply longer than its buffers");
    if (r.reply_len < OUT_HEAD && r.dst_len >= OUT_HEAD)
        die("no reply though there was room");
    if (r.error < 0 || r.error > 4095)
        die("no errno");
    free(memory);
    free(in);
    free(reply);
}

static void add_file(struct host *host, int dir, const char *name, uint64_t number, int is_dir)
{
    if (is_dir ? mkdirat(dir, name, 0700) : mknodat(dir, name, S_IFREG | 0600, 0))
        die("making files");
    struct found f;
    if (host_open_path(host, dir, name, 0, &f) < 0)
        die("open_path");
    int fd = host_reopen(host, f.fd, is_dir ? O_RDONLY : O_RDWR);
    struct handle_info info = {.fh = number, .nodeid = number, .fd = fd, .kind = is_dir ? HANDLE_DIR : HANDLE_FILE};
    if (table_inode_add_found(host, number, 1, INODE_FD, &f) < 0 || table_handle_add(host, &info) < 0)
        die("tables");
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t rounds = strtoull(argv[2], NULL, 10);
    struct rlimit limit = {.rlim_cur = FILE_MAX_BYTES, .rlim_max = FILE_MAX_BYTES};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        die("setrlimit");
    state = strtoull(argv[3], NULL, 10);
    struct host *host = host_new(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC), 100, 100, 10, 0);
    if (dir < 0 || host == NULL)
        die("start");
    add_file(host, dir, "a", 1, 0);
    add_file(host, dir, "b", 2, 0);
    add_file(host, dir, "c", 3, 1);
    struct lane *lane = lane_new(host);
    lane_set_ready(lane, 1);
    struct lane_ops *ops = (struct lane_ops *)(uintptr_t)lane_ops_address(lane);
    for (uint64_t i = 0; i < rounds; i++) {
        lane_set_config(lane, 0, random64() % 8 == 0, random64() % 2 == 0, random64() % 2 == 0);
        /* SYNCFS would wait for every disk of the machine. */
        one(lane, ops, 1 + (uint32_t)(random64() % (OP_COUNT - 2)));
        if (i % 64 == 0)
            for (uint64_t n = 1; n <= 2; n++) { /* a file that a guest made huge would only fill the disk */
                struct handle_info info;
                if (table_handle_get(host, n, &info) < 0 || ftruncate(info.fd, 5000) < 0)
                    die("truncate");
            }
    }
    uint64_t all = 0, bad = 0;
    for (uint32_t op = 0; op < OP_COUNT; op++) {
        uint64_t done, errors;
        lane_counts(lane, op, &done, &errors);
        all += done;
        bad += errors;
    }
    lane_free(lane);
    host_free(host);
    printf("answered %llu errors %llu\n", (unsigned long long)all, (unsigned long long)bad);
    return all == rounds && bad < all ? 0 : 1;
}
