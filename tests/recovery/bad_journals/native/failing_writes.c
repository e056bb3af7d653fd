/* SPDX-License-Identifier: Apache-2.0
 * Preloaded into a daemon: reads and writes of the files that a shared page names fail with the error that it says, while it says
 * one. A failing write may have stored its first half. tests/recovery/bad_journals/failing_disk.py is the other side.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 4

struct page {
    int32_t write_error; /* 0: writes are as always */
    int32_t read_error;
    int32_t halves; /* whether a failing write stores its first half */
    int32_t failed; /* how many calls did */
    uint64_t inodes[FILES_MAX];
    int32_t syncs_wait; /* fsync(2) of any file waits while this stands */
    int32_t waiting;    /* how many began to wait */
};

static struct page *page;

__attribute__((constructor)) static void map_page(void)
{
    const char *path = getenv("STEADFS_TEST_FAILING");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        page = map;
}

static int fails(int fd, const int32_t *error)
{
    struct stat about;
    int number = page ? __atomic_load_n(error, __ATOMIC_SEQ_CST) : 0;
    if (number == 0 || fstat(fd, &about) < 0)
        return 0;
    for (int i = 0; i < FILES_MAX; i++) {
        if (page->inodes[i] == about.st_ino) {
            __atomic_fetch_add(&page->failed, 1, __ATOMIC_SEQ_CST);
            return number;
        }
    }
    return 0;
}

int fsync(int fd)
{
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "fsync");
    if (page && page->syncs_wait) {
        __atomic_fetch_add(&page->waiting, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&page->syncs_wait, __ATOMIC_SEQ_CST))
            usleep(1000);
    }
    return real(fd);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "pwrite64");
    int error = page ? fails(fd, &page->write_error) : 0;
    if (error == 0)
        return real(fd, data, size, at);
    if (page->halves)
        real(fd, data, size / 2, at);
    errno = error;
    return -1;
}

ssize_t pread64(int fd, void *data, size_t size, off64_t at)
{
    static ssize_t (*real)(int, void *, size_t, off64_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "pread64");
    int error = page ? fails(fd, &page->read_error) : 0;
    if (error == 0)
        return real(fd, data, size, at);
    errno = error;
    return -1;
}
