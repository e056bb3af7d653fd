/* SPDX-License-Identifier: Apache-2.0
 *
 * Extended attributes of a file known by an O_PATH descriptor.
 *
 * f*xattr(2) refuses O_PATH descriptors, opening the file could block or act on a device, and the classic calls
 * take no directory descriptor. So: the *xattrat(2) calls (Linux 6.13) on /proc/self/fd; before that the classic
 * calls on a relative path, by a thread whose working directory is /proc/self/fd. The thread gets a file-system
 * context of its own for that. Not so the process' first thread, the interpreter's, which works on relative names
 * in another directory: for each of its calls a thread is made, some 40 us on kernels that need it.
 */
#include "fuse/native/host/host_private.h"
#include "fuse/native/host/hostcalls.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* One number on every architecture (the unified table since 2019); headers of the build machine may lack them. */
#define NR_SETXATTRAT 463
#define NR_GETXATTRAT 464
#define NR_LISTXATTRAT 465
#define NR_REMOVEXATTRAT 466

/* struct xattr_args, include/uapi/linux/xattr.h. */
struct xattrat_args {
    uint64_t value;
    uint32_t size;
    uint32_t flags;
};

static _Atomic bool by_cwd;
static _Thread_local int cwd_is = -1;

void host_xattr_by_cwd(int on)
{
    atomic_store(&by_cwd, on != 0);
}

/* True: the kernel lacks the call; from now on all go by the working directory. */
static bool lacks(long rc)
{
    if (rc >= 0 || errno != ENOSYS)
        return false;
    atomic_store(&by_cwd, true);
    return true;
}

static int go_to(int proc_fd)
{
    if (cwd_is == proc_fd)
        return 0;
    if (unshare(CLONE_FS) < 0 || fchdir(proc_fd) < 0)
        return -errno;
    cwd_is = proc_fd;
    return 0;
}

static int result(long rc)
{
    return rc < 0 ? -errno : (int)rc;
}

enum classic { SET, GET, LIST, REMOVE };

/* One classic call on a file of /proc/self/fd. */
struct errand {
    enum classic call;
    int proc_fd;
    int flags;
    int done; /* >= 0 or -errno */
    struct fd_name file;
    const char *name;
    void *value;
    uint32_t size;
};

static void run_here(struct errand *e)
{
    long rc = -1;
    e->done = go_to(e->proc_fd);
    if (e->done < 0)
        return;
    if (e->call == SET)
        rc = setxattr(e->file.text, e->name, e->value, e->size, e->flags);
    else if (e->call == GET)
        rc = getxattr(e->file.text, e->name, e->value, e->size);
    else if (e->call == LIST)
        rc = listxattr(e->file.text, e->value, e->size);
    else
        rc = removexattr(e->file.text, e->name);
    e->done = result(rc);
}

static void *run_in_thread(void *errand)
{
    run_here(errand);
    return NULL;
}

static int run(struct errand *e)
{
    if (syscall(SYS_gettid) != getpid()) {
        run_here(e);
        return e->done;
    }
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals stay the interpreter's */
    int rc = pthread_create(&thread, NULL, run_in_thread, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return -ENOMEM;
    pthread_join(thread, NULL);
    return e->done;
}

int host_setxattr(struct host *h, int path_fd, const char *name, const void *value, uint32_t size, int flags)
{
    struct fd_name file = fd_name(path_fd);
    if (!atomic_load_explicit(&by_cwd, memory_order_relaxed)) {
        struct xattrat_args args = {.value = (uintptr_t)value, .size = size, .flags = (uint32_t)flags};
        long rc = syscall(NR_SETXATTRAT, h->proc_fd, file.text, 0, name, &args, sizeof args);
        if (!lacks(rc))
            return result(rc);
    }
    struct errand e = {.call = SET, .proc_fd = h->proc_fd, .file = file, .name = name,
                       .value = (void *)(uintptr_t)value, .size = size, .flags = flags};
    return run(&e);
}

int host_removexattr(struct host *h, int path_fd, const char *name)
{
    struct fd_name file = fd_name(path_fd);
    if (!atomic_load_explicit(&by_cwd, memory_order_relaxed)) {
        long rc = syscall(NR_REMOVEXATTRAT, h->proc_fd, file.text, 0, name);
        if (!lacks(rc))
            return result(rc);
    }
    struct errand e = {.call = REMOVE, .proc_fd = h->proc_fd, .file = file, .name = name};
    return run(&e);
}

int host_getxattr(struct host *h, int path_fd, const char *name, void *value, uint32_t size)
{
    struct fd_name file = fd_name(path_fd);
    if (!atomic_load_explicit(&by_cwd, memory_order_relaxed)) {
        struct xattrat_args args = {.value = (uintptr_t)value, .size = size};
        long rc = syscall(NR_GETXATTRAT, h->proc_fd, file.text, 0, name, &args, sizeof args);
        if (!lacks(rc))
            return result(rc);
    }
    struct errand e = {.call = GET, .proc_fd = h->proc_fd, .file = file, .name = name, .value = value, .size = size};
    return run(&e);
}

int host_listxattr(struct host *h, int path_fd, void *list, uint32_t size)
{
    struct fd_name file = fd_name(path_fd);
    if (!atomic_load_explicit(&by_cwd, memory_order_relaxed)) {
        long rc = syscall(NR_LISTXATTRAT, h->proc_fd, file.text, 0, list, (size_t)size);
        if (!lacks(rc))
            return result(rc);
    }
    struct errand e = {.call = LIST, .proc_fd = h->proc_fd, .file = file, .value = list, .size = size};
    return run(&e);
}
