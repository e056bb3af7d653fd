/* SPDX-License-Identifier: Apache-2.0
 *
 * Extended attributes of a file known by an O_PATH descriptor.
 *
 * f*xattr(2) refuses O_PATH descriptors, opening the file could block or act on a device, and the classic calls
 * take no directory descriptor. So: the *xattrat(2) calls (Linux 6.13) on /proc/self/fd; before that the classic
 * calls on a relative path, by a thread whose working directory is /proc/self/fd. The thread gets a file-system
 * context of its own for that, and nothing else here uses relative paths.
 */
#include "fuse/native/host/host_private.h"
#include "fuse/native/host/hostcalls.h"

#include <errno.h>
#include <sched.h>
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

int host_setxattr(struct host *h, int path_fd, const char *name, const void *value, uint32_t size, int flags)
{
    struct fd_name file = fd_name(path_fd);
    if (!atomic_load_explicit(&by_cwd, memory_order_relaxed)) {
        struct xattrat_args args = {.value = (uintptr_t)value, .size = size, .flags = (uint32_t)flags};
        long rc = syscall(NR_SETXATTRAT, h->proc_fd, file.text, 0, name, &args, sizeof args);
        if (!lacks(rc))
            return result(rc);
    }
    int rc = go_to(h->proc_fd);
    return rc < 0 ? rc : result(setxattr(file.text, name, value, size, flags));
}

int host_removexattr(struct host *h, int path_fd, const char *name)
{
    struct fd_name file = fd_name(path_fd);
    if (!atomic_load_explicit(&by_cwd, memory_order_relaxed)) {
        long rc = syscall(NR_REMOVEXATTRAT, h->proc_fd, file.text, 0, name);
        if (!lacks(rc))
            return result(rc);
    }
    int rc = go_to(h->proc_fd);
    return rc < 0 ? rc : result(removexattr(file.text, name));
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
    int rc = go_to(h->proc_fd);
    return rc < 0 ? rc : result(getxattr(file.text, name, value, size));
}

int host_listxattr(struct host *h, int path_fd, void *list, uint32_t size)
{
    struct fd_name file = fd_name(path_fd);
    if (!atomic_load_explicit(&by_cwd, memory_order_relaxed)) {
        long rc = syscall(NR_LISTXATTRAT, h->proc_fd, file.text, 0, list, (size_t)size);
        if (!lacks(rc))
            return result(rc);
    }
    int rc = go_to(h->proc_fd);
    return rc < 0 ? rc : result(listxattr(file.text, list, size));
}
