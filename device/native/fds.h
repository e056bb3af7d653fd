/* SPDX-License-Identifier: Apache-2.0
 * Looks at the whole table of descriptors: a guest that has many open waits for it.
 */
#ifndef STEADFS_FDS_H
#define STEADFS_FDS_H

#include <stddef.h>
#include <stdint.h>

/* Which file a descriptor leads to. */
struct file_identity {
    uint64_t dev;
    uint64_t ino;
};

/* Every open descriptor below `beyond`, in order; returns how many there are. `out` has room for `beyond` of them. */
uint32_t fds_open(uint32_t beyond, int32_t *out);

/* Sets hits[i] to whether fds[i] leads to one of the files; what is not open leads to none. */
void fds_leading_to(const int32_t *fds, uint32_t count, const struct file_identity *files, uint32_t files_count, uint8_t *hits);

#endif
