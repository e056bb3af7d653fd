/* SPDX-License-Identifier: Apache-2.0
 * Looks at the whole table of descriptors: a guest that has many open waits for it.
 */
#ifndef STEADFS_FDS_H
#define STEADFS_FDS_H

#include <stddef.h>
#include <stdint.h>

/* cdef begin */
/* Which file a descriptor leads to. */
struct file_identity {
    uint64_t dev;
    uint64_t ino;
};

/* Every open descriptor, in order; returns how many there are, of which `out` gets the first `room`, or a negative number when
 * that can't be told. `directory` is /proc/self/fd. Free numbers are what is looked for: to ask each open one would fetch a
 * thousand files from memory.
 */
int32_t fds_open(int directory, int32_t *out, int32_t room);

/* Sets hits[i] to whether fds[i] leads to one of the files; what is not open leads to none. */
void fds_leading_to(const int32_t *fds, uint32_t count, const struct file_identity *files, uint32_t files_count, uint8_t *hits);
/* cdef end */

#endif
