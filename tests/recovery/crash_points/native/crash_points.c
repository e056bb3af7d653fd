/* SPDX-License-Identifier: Apache-2.0
 * The page that test and daemon share: how many crash points to pass before the process kills itself, and the names of
 * those passed. tests/recovery/crash_points/points.py is the other side.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "crash_points.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define NAME_BYTES 48
#define TRACE_MAX 8192
#define PHASES_MAX 8
#define EVENTS_MAX 16

struct page {
    int64_t countdown; /* 0: nobody dies */
    int64_t next;      /* the countdown of whoever comes after */
    uint32_t tracing;
    uint32_t traced;
    uint32_t deaths;
    uint32_t unused;
    char died_at[NAME_BYTES];
    char only[NAME_BYTES]; /* when not empty: points of another name aren't counted */
    char trace[TRACE_MAX][NAME_BYTES];
    uint8_t phase_changes[PHASES_MAX][EVENTS_MAX]; /* of slots: which have been */
};

static struct page *page;
static int silent;

int crash_points_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -1;
    void *map = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return -1;
    page = map;
    return setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* here, before there is a filter of system calls */
}

void crash_points_silence(int on)
{
    silent = on;
}

void crash_phase(unsigned int phase, unsigned int event)
{
    if (page != NULL && !silent && phase < PHASES_MAX && event < EVENTS_MAX)
        __atomic_store_n(&page->phase_changes[phase][event], 1, __ATOMIC_RELAXED);
}

static void die(const char *where)
{
    snprintf(page->died_at, NAME_BYTES, "%s", where);
    page->deaths++;
    page->countdown = page->next;
    page->next = 0;
    /* The first process of a pid namespace is immune to its own signals, not to a fault; and a fault is no system call. */
    signal(SIGILL, SIG_DFL);
    __builtin_trap();
}

void crash_point(const char *where)
{
    if (page == NULL || silent)
        return;
    if (page->tracing) {
        uint32_t at = __atomic_fetch_add(&page->traced, 1, __ATOMIC_RELAXED);
        if (at < TRACE_MAX)
            snprintf(page->trace[at], NAME_BYTES, "%s", where);
    }
    if (page->only[0] != '\0' && strncmp(page->only, where, NAME_BYTES - 1) != 0)
        return;
    if (__atomic_load_n(&page->countdown, __ATOMIC_RELAXED) > 0 &&
        __atomic_sub_fetch(&page->countdown, 1, __ATOMIC_SEQ_CST) == 0)
        die(where);
}
