/* SPDX-License-Identifier: Apache-2.0
 * Guest memory: the table of regions, their mappings, and translation of addresses.
 *
 * The caller owns the fds; a region is mapped during the call and its fd not kept. A table is read by all queue
 * threads without a lock: the engine replaces it only while it is quiesced.
 */
#ifndef STEADFS_MEMORY_H
#define STEADFS_MEMORY_H

#include "specs/native/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cdef begin */
/* What QEMU's own vhost-user library takes: 512 KVM memory slots less those that never hold RAM. */
#define MEMORY_REGIONS_MAX LIMIT_MEM_SLOTS_MAX

struct memory_region_spec {
    uint64_t gpa; /* guest physical address */
    uint64_t size;
    uint64_t uva; /* the address in the VMM, by which ring addresses are given */
    uint64_t fd_offset;
    int32_t fd;
};
/* cdef end */

struct memory_region {
    uint64_t gpa;
    uint64_t size;
    uint64_t uva;
    uint8_t *hva; /* our address of gpa */
    void *map;
    size_t map_bytes;
};

struct memory {
    uint32_t n;
    struct memory_region regions[MEMORY_REGIONS_MAX]; /* sorted by gpa, no overlap */
};

/* Maps bytes at offset of a regular file (tmpfs, memfd, hugetlbfs) shared and writable; *map and *map_bytes are for
 * memory_unmap_file. Returns the address of `offset`, or NULL with *error = positive errno: EPROTO for a file
 * that is no regular file or ends before offset + bytes, or a sum that overflows. */
uint8_t *memory_map_file(int fd, uint64_t offset, uint64_t bytes, void **map, size_t *map_bytes, int *error);
void memory_unmap_file(void *map, size_t map_bytes);

/* Negative errno or 0. On failure the table is as before. */
int memory_add(struct memory *memory, const struct memory_region_spec *spec);
int memory_remove(struct memory *memory, uint64_t gpa, uint64_t uva, uint64_t size);
void memory_clear(struct memory *memory);

/* The address of gpa and in *run how many of len bytes are contiguous from there; NULL when gpa is no memory. */
uint8_t *memory_at(const struct memory *memory, uint64_t gpa, uint64_t len, uint64_t *run);
/* The address of a ring part given by the VMM's address; NULL unless all of it lies in one region. */
uint8_t *memory_at_uva(const struct memory *memory, uint64_t uva, uint64_t len);

#endif
