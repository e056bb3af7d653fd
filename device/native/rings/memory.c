/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "device/native/rings/memory.h"
#include "device/native/os/sigbus.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static int file_page_bytes(int fd, size_t *page_bytes)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return errno;
    *page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    if (fs.f_type == HUGETLBFS_MAGIC)
        *page_bytes = (size_t)fs.f_bsize;
    return 0;
}

static int check_file(int fd, uint64_t offset, uint64_t bytes)
{
    struct stat st;
    uint64_t end;
    if (bytes == 0 || __builtin_add_overflow(offset, bytes, &end))
        return EPROTO;
    if (fstat(fd, &st) != 0)
        return errno;
    return S_ISREG(st.st_mode) && (uint64_t)st.st_size >= end ? 0 : EPROTO;
}

uint8_t *memory_map_file(int fd, uint64_t offset, uint64_t bytes, void **map, size_t *map_bytes, int *error)
{
    size_t page = 0;
    *error = check_file(fd, offset, bytes);
    if (*error == 0)
        *error = file_page_bytes(fd, &page);
    if (*error != 0)
        return NULL;
    /* offset + bytes fits in a file's size (an off_t), so rounding up to a page can't overflow 64 bits. */
    uint64_t lead = offset % page;
    uint64_t whole = (lead + bytes + page - 1) / page * page;
    void *at = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset - lead));
    if (at == MAP_FAILED) {
        *error = errno;
        return NULL;
    }
    madvise(at, whole, MADV_DONTDUMP); /* a guest's memory doesn't belong in our core dumps */
    *error = -sigbus_guard(at, whole, page);
    if (*error != 0) {
        munmap(at, whole);
        return NULL;
    }
    *map = at;
    *map_bytes = whole;
    return (uint8_t *)at + lead;
}

void memory_unmap_file(void *map, size_t map_bytes)
{
    sigbus_unguard(map);
    munmap(map, map_bytes);
}

static int check_spec(const struct memory *memory, const struct memory_region_spec *spec)
{
    uint64_t end;
    if (spec->size == 0 || __builtin_add_overflow(spec->gpa, spec->size, &end) ||
        __builtin_add_overflow(spec->uva, spec->size, &end))
        return -EPROTO;
    if (memory->n >= MEMORY_REGIONS_MAX)
        return -E2BIG;
    for (uint32_t i = 0; i < memory->n; i++) {
        const struct memory_region *r = &memory->regions[i];
        if (spec->gpa < r->gpa + r->size && r->gpa < spec->gpa + spec->size)
            return -EPROTO;
    }
    return 0;
}

int memory_add(struct memory *memory, const struct memory_region_spec *spec)
{
    int error = check_spec(memory, spec);
    if (error != 0)
        return error;
    struct memory_region new = {.gpa = spec->gpa, .size = spec->size, .uva = spec->uva};
    new.hva = memory_map_file(spec->fd, spec->fd_offset, spec->size, &new.map, &new.map_bytes, &error);
    if (new.hva == NULL)
        return -error;
    uint32_t at = memory->n;
    while (at > 0 && memory->regions[at - 1].gpa > new.gpa)
        at--;
    memmove(&memory->regions[at + 1], &memory->regions[at], (memory->n - at) * sizeof new);
    memory->regions[at] = new;
    memory->n++;
    return 0;
}

int memory_remove(struct memory *memory, uint64_t gpa, uint64_t uva, uint64_t size)
{
    for (uint32_t i = 0; i < memory->n; i++) {
        struct memory_region *r = &memory->regions[i];
        if (r->gpa != gpa || r->uva != uva || r->size != size)
            continue;
        memory_unmap_file(r->map, r->map_bytes);
        memory->n--;
        memmove(r, r + 1, (memory->n - i) * sizeof *r);
        return 0;
    }
    return -ENOENT;
}

void memory_clear(struct memory *memory)
{
    for (uint32_t i = 0; i < memory->n; i++)
        memory_unmap_file(memory->regions[i].map, memory->regions[i].map_bytes);
    memory->n = 0;
}

uint8_t *memory_at(const struct memory *memory, uint64_t gpa, uint64_t len, uint64_t *run)
{
    uint32_t low = 0, high = memory->n; /* the last region that starts at or before gpa is low - 1 in the end */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (memory->regions[middle].gpa <= gpa)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    const struct memory_region *r = &memory->regions[low - 1];
    uint64_t offset = gpa - r->gpa;
    if (offset >= r->size)
        return NULL;
    *run = len < r->size - offset ? len : r->size - offset;
    return r->hva + offset;
}

uint8_t *memory_at_uva(const struct memory *memory, uint64_t uva, uint64_t len)
{
    for (uint32_t i = 0; i < memory->n; i++) {
        const struct memory_region *r = &memory->regions[i];
        if (uva >= r->uva && uva - r->uva < r->size && len <= r->size - (uva - r->uva))
            return r->hva + (uva - r->uva);
    }
    return NULL;
}
