/*
 * Checks with names, one line each: "ok NAME", "not ok NAME: what was seen", "skip NAME: why". A program runs the same on the host's
 * own file system and in the guest, so that the host's lines are the oracle. Exit status: 0 unless a check failed.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <unistd.h>

static int failed_checks;

static inline void report(int holds, const char *name, const char *format, ...)
{
    if (holds) {
        printf("ok %s\n", name);
    } else {
        va_list values;
        va_start(values, format);
        printf("not ok %s: ", name);
        vprintf(format, values);
        printf("\n");
        va_end(values);
        failed_checks++;
    }
    fflush(stdout); /* so that a forked child does not print it again, and a hang shows how far we came */
}

static inline void skip(const char *name, const char *why)
{
    printf("skip %s: %s\n", name, why);
    fflush(stdout);
}

#define EXPECT(name, condition)                                                                              \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        int holds_ = (condition) ? 1 : 0;                                                                    \
        report(holds_, (name), "%s is false, errno %d (%s)", #condition, errno, strerror(errno));            \
    } while (0)

#define EXPECT_ERROR(name, call, expected)                                                                   \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        long returned_ = (long)(call);                                                                       \
        int seen_ = errno;                                                                                   \
        report(returned_ == -1 && seen_ == (expected), (name), "%s returned %ld, errno %d (%s), not %s",     \
               #call, returned_, seen_, strerror(seen_), #expected);                                         \
    } while (0)

/* A step that the checks stand on: if it fails, nothing after it means anything. */
#define MUST(call)                                                                                           \
    do {                                                                                                     \
        if ((long)(call) == -1) {                                                                            \
            printf("not ok prepare: %s at line %d: %s\n", #call, __LINE__, strerror(errno));                 \
            exit(2);                                                                                         \
        }                                                                                                    \
    } while (0)

static inline int kernel_at_least(int major, int minor)
{
    struct utsname names;
    int has_major = 0, has_minor = 0;
    uname(&names);
    sscanf(names.release, "%d.%d", &has_major, &has_minor);
    return has_major > major || (has_major == major && has_minor >= minor);
}

static inline void put_file(const char *path, const void *data, size_t length, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    MUST(fd);
    if (write(fd, data, length) != (ssize_t)length)
        MUST(-1);
    MUST(fchmod(fd, mode));
    MUST(close(fd));
}

static inline int file_holds(const char *path, const void *data, size_t length)
{
    char *found = malloc(length + 1);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || found == NULL) {
        free(found);
        return 0;
    }
    ssize_t done = read(fd, found, length + 1);
    int same = done == (ssize_t)length && memcmp(found, data, length) == 0;
    close(fd);
    free(found);
    return same;
}

static inline struct stat status_of(const char *path)
{
    struct stat found;
    memset(&found, 0, sizeof found);
    if (lstat(path, &found) != 0)
        found.st_nlink = 0;
    return found;
}

static inline int exists(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0;
}

/* Work in a fresh directory argv[1]/THEME; the caller's umask must not matter. */
static inline void enter(int argc, char **argv, const char *theme)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        exit(2);
    }
    umask(022);
    MUST(chdir(argv[1]));
    MUST(mkdir(theme, 0755));
    MUST(chdir(theme));
}

static inline int verdict(void)
{
    return failed_checks == 0 ? 0 : 1;
}

#endif
