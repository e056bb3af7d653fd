/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "device/native/os/fds.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NONE = -1, UNKNOWN = -2 };
/* Linux dirent64 (linux/dirent.h): inode, position and length of the entry, kind, name. */
enum { NAME_AT = 19, ONE_ENTRY_BYTES = 32, ENTRIES_BEFORE = 2 };
enum { SELDOM = 64 }; /* numbers that are free in a row; to list the next one costs as much as to ask for so many */
enum { SHORT = 8, ASKED = 256 }; /* a run so short costs more to copy for than to ask; then so many are asked */

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* The first that isn't open, from `fd` on: the kernel looks into its bitmap, and at no file. */
static int first_closed(int borrowed, int fd)
{
    int copy = fcntl(borrowed, F_DUPFD_CLOEXEC, fd);
    if (copy >= 0) {
        close(copy);
        return copy;
    }
    while (is_open(fd)) /* no number is free */
        fd++;
    return fd;
}

/* The first open one from `fd` on, in /proc/self/fd, where a position is a number behind "." and "..". */
static int first_listed(int directory, int fd)
{
    char entry[ONE_ENTRY_BYTES + 1] = "";
    int found = UNKNOWN;
    if (lseek(directory, (off_t)fd + ENTRIES_BEFORE, SEEK_SET) < 0)
        return UNKNOWN;
    long got = syscall(SYS_getdents64, directory, entry, (unsigned)ONE_ENTRY_BYTES);
    if (got == 0)
        return NONE;
    return got > 0 && sscanf(entry + NAME_AT, "%d", &found) == 1 && found >= fd ? found : UNKNOWN;
}

static int next_open(int directory, int fd)
{
    for (int tried = 0; tried < SELDOM; tried++, fd++)
        if (is_open(fd))
            return fd;
    return first_listed(directory, fd);
}

int32_t fds_open(int directory, int32_t *out, int32_t room)
{
    int32_t count = 0;
    int fd = 0;
    while (fd >= 0) {
        int begin = fd;
        for (int end = first_closed(directory, fd); fd < end; fd++)
            if (count++ < room)
                out[count - 1] = fd;
        if (fd - begin < SHORT) /* open and free ones alternate: to ask each costs less then */
            for (int end = fd + ASKED; fd < end; fd++)
                if (is_open(fd) && count++ < room)
                    out[count - 1] = fd;
        fd = next_open(directory, fd);
    }
    return fd == NONE ? count : UNKNOWN;
}

static bool among(const struct stat *found, const struct file_identity *files, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (files[i].dev == found->st_dev && files[i].ino == found->st_ino)
            return true;
    return false;
}

void fds_leading_to(const int32_t *fds, uint32_t count, const struct file_identity *files, uint32_t files_count, uint8_t *hits)
{
    struct stat found;
    for (uint32_t i = 0; i < count; i++)
        hits[i] = fstat(fds[i], &found) == 0 && among(&found, files, files_count);
}
