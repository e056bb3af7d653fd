/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STEADFS_HOST_PRIVATE_H
#define STEADFS_HOST_PRIVATE_H

#include <stdint.h>

/* A descriptor's name in /proc/self/fd: ten digits and NUL. */
struct fd_name {
    char text[12];
};

static inline struct fd_name fd_name(int fd)
{
    struct fd_name name;
    char digits[12];
    int n = 0;
    unsigned v = (unsigned)fd;
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    for (int i = 0; i < n; i++)
        name.text[i] = digits[n - 1 - i];
    name.text[n] = 0;
    return name;
}

/* struct linux_dirent64, getdents64(2). */
struct dirent64_head {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

#endif
