/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "device/native/os/sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>

/* Two memory tables of 509 regions while one replaces the other, and the in-flight region. */
#define GUARDS_MAX 1024u

/* Written under `guards_lock`, read by the handler without it: `start` is set last and cleared first. */
struct guard {
    uintptr_t start;
    size_t bytes;
    size_t page_bytes;
};
static struct guard guards[GUARDS_MAX];
static uint32_t guards_used; /* entries ever used */
static pthread_mutex_t guards_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;
static bool installed;

static bool replace_page(uintptr_t address)
{
    uint32_t n = __atomic_load_n(&guards_used, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++) {
        uintptr_t start = __atomic_load_n(&guards[i].start, __ATOMIC_ACQUIRE);
        if (start == 0 || address < start || address - start >= guards[i].bytes)
            continue;
        size_t page_bytes = guards[i].page_bytes;
        uintptr_t page = address - address % page_bytes;
        void *got = mmap((void *)page, page_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        if (got == MAP_FAILED)
            return false;
        return true;
    }
    return false;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    if (!replace_page((uintptr_t)info->si_addr))
        sigaction(SIGBUS, &previous, NULL); /* the access faults again and meets the previous disposition */
    errno = saved;
}

static int install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, &previous) != 0)
        return -errno;
    installed = true;
    return 0;
}

int sigbus_guard(void *start, size_t bytes, size_t page_bytes)
{
    int error = 0;
    pthread_mutex_lock(&guards_lock);
    if (!installed)
        error = install();
    uint32_t i = 0;
    while (error == 0 && i < guards_used && guards[i].start != 0)
        i++;
    if (error == 0 && i == GUARDS_MAX)
        error = -ENOMEM;
    if (error == 0) {
        guards[i].bytes = bytes;
        guards[i].page_bytes = page_bytes;
        __atomic_store_n(&guards[i].start, (uintptr_t)start, __ATOMIC_RELEASE);
        if (i == guards_used)
            __atomic_store_n(&guards_used, i + 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&guards_lock);
    return error;
}

void sigbus_unguard(void *start)
{
    pthread_mutex_lock(&guards_lock);
    for (uint32_t i = 0; i < guards_used; i++)
        if (guards[i].start == (uintptr_t)start)
            __atomic_store_n(&guards[i].start, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&guards_lock);
}
