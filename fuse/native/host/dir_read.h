/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw entries of a directory handle, for READDIR and READDIRPLUS.
 */
#ifndef STEADFS_DIR_READ_H
#define STEADFS_DIR_READ_H

#include "fuse/native/tables/handles.h"

#include <stdint.h>

/* The largest record getdents64 makes: 19 bytes, a name of 255, NUL, padded. */
#define DIRENT64_BYTES_MAX 280u

/* Bytes of struct linux_dirent64 read at offset, 0 at the end, or -errno. Locks the handle's position meanwhile. */
int dir_read(struct handle *h, uint64_t offset, void *buffer, uint32_t room);

#endif
