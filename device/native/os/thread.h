/* SPDX-License-Identifier: Apache-2.0
 * Threads and waits on the monotonic clock. Native threads never call Python and take none of its signals.
 */
#ifndef STEADFS_THREAD_H
#define STEADFS_THREAD_H

#include <pthread.h>
#include <stdint.h>

/* The file side may keep directory buffers of tens of KiB on the stack; untouched pages cost nothing. */
#define THREAD_STACK_BYTES (1024u * 1024u)

/* Negative errno or 0. All signals are blocked in it but those that the thread's own faults raise. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *argument, const char *name, uint32_t number);

void thread_cond_init(pthread_cond_t *cond);
/* 0 or -ETIMEDOUT; the lock is held before and after, wake-ups may be spurious. */
int thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);

uint64_t thread_now_ns(void); /* CLOCK_MONOTONIC */
uint64_t thread_deadline(uint64_t timeout_ns);

static inline void thread_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#endif
