/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "device/native/os/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define NS_PER_S 1000000000ull

int thread_start(pthread_t *thread, void *(*run)(void *), void *argument, const char *name, uint32_t number)
{
    pthread_attr_t attr;
    sigset_t blocked, before;
    char full[16]; /* TASK_COMM_LEN */
    sigfillset(&blocked);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGSYS);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &blocked, &before); /* inherited: no signal slips in between */
    int error = pthread_create(thread, &attr, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (error != 0)
        return -error;
    snprintf(full, sizeof full, "%s-%u", name, number % 10000);
    pthread_setname_np(*thread, full);
    return 0;
}

void thread_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

int thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / NS_PER_S), .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    return -pthread_cond_timedwait(cond, lock, &until);
}

uint64_t thread_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t thread_deadline(uint64_t timeout_ns)
{
    const uint64_t forever_ns = 365ull * 24 * 3600 * NS_PER_S; /* keeps the sum in range */
    return thread_now_ns() + (timeout_ns < forever_ns ? timeout_ns : forever_ns);
}
