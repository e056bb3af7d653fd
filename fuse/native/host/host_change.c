/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening, making, removing and changing files.
 */
#include "fuse/native/host/host_private.h"
#include "fuse/native/host/hostcalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of the guest's open flags, what goes to the host. O_NOFOLLOW must not: /proc/self/fd entries are links. O_CREAT
 * and O_EXCL are the caller's operation, O_PATH and O_TMPFILE would make another kind of descriptor. O_NOCTTY is ours. */
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_DIRECT | O_DSYNC | O_SYNC | O_NOATIME | O_NONBLOCK | O_LARGEFILE | O_TRUNC)

static int result(int rc)
{
    return rc < 0 ? -errno : rc;
}

/* S_IFMT bits, from the pin where there is one: a file's type never changes. */
static int file_type(const struct host *h, int path_fd)
{
    for (uint32_t i = 0; i < h->inode_pins_n; i++)
        if (h->inode_pins[i].fd == path_fd)
            return (int)h->inode_pins[i].mode;
    struct stat st;
    int rc = fast_fstat(path_fd, &st);
    return rc < 0 ? rc : (int)(st.st_mode & S_IFMT);
}

int host_reopen(struct host *h, int path_fd, int flags)
{
    int type = file_type(h, path_fd);
    if (type < 0)
        return type;
    if (type == S_IFLNK)
        return -ELOOP;
    if (type != S_IFREG && type != S_IFDIR)
        return -ENXIO;
    int only_dir = type == S_IFDIR ? O_DIRECTORY : 0;
    struct fd_name name = fd_name(path_fd);
    return result(openat(h->proc_fd, name.text, (flags & OPEN_FLAGS) | only_dir | O_CLOEXEC | O_NOCTTY));
}

int host_mount_fd(struct host *h, int path_fd)
{
    return host_reopen(h, path_fd, O_RDONLY);
}

int host_open_file(struct host *h, int path_fd, int flags)
{
    return file_type(h, path_fd) == S_IFDIR ? -EISDIR : host_reopen(h, path_fd, flags);
}

int host_open_dir(struct host *h, int path_fd)
{
    int type = file_type(h, path_fd);
    if (type >= 0 && type != S_IFDIR)
        return -ENOTDIR;
    return type < 0 ? type : host_reopen(h, path_fd, O_RDONLY);
}

int host_create(struct host *h, int dir_fd, const char *name, int flags, uint32_t mode)
{
    return result(openat(dir_fd, name, (flags & OPEN_FLAGS) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
                         mode & 07777));
}

int host_tmpfile(struct host *h, int dir_fd, int flags, uint32_t mode)
{
    int dir = host_open_dir(h, dir_fd);
    if (dir < 0)
        return dir;
    int fd = result(openat(dir, ".", (flags & OPEN_FLAGS & ~O_TRUNC) | O_TMPFILE | O_CLOEXEC, mode & 07777));
    close(dir);
    return fd;
}

int host_mkdir(struct host *h, int dir_fd, const char *name, uint32_t mode)
{
    return result(mkdirat(dir_fd, name, mode & 07777));
}

int host_mknod(struct host *h, int dir_fd, const char *name, uint32_t mode, uint32_t rdev)
{
    return result(mknodat(dir_fd, name, mode & (S_IFMT | 07777), (dev_t)rdev));
}

int host_symlink(struct host *h, const char *target, int dir_fd, const char *name)
{
    return result(symlinkat(target, dir_fd, name));
}

int host_link(struct host *h, int path_fd, int dir_fd, const char *name)
{
    /* AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH, the followed /proc link works for everyone, and of a symbolic
     * link's descriptor it gives the link itself. */
    struct fd_name fd = fd_name(path_fd);
    return result(linkat(h->proc_fd, fd.text, dir_fd, name, AT_SYMLINK_FOLLOW));
}

int host_unlink(struct host *h, int dir_fd, const char *name, int is_dir)
{
    return result(unlinkat(dir_fd, name, is_dir ? AT_REMOVEDIR : 0));
}

int host_rename(struct host *h, int old_dir, const char *old_name, int new_dir, const char *new_name, uint32_t flags)
{
    return result(renameat2(old_dir, old_name, new_dir, new_name, flags));
}

int host_readlink(struct host *h, int path_fd, char *target, uint32_t room)
{
    ssize_t n = readlinkat(path_fd, "", target, room);
    if (n < 0) /* of an empty name ENOENT says that there is no link, for which readlink(2) has EINVAL */
        return errno == ENOENT ? -EINVAL : -errno;
    return (uint64_t)n == room ? -ENAMETOOLONG : (int)n;
}

int host_chmod(struct host *h, int path_fd, uint32_t mode)
{
    struct fd_name name = fd_name(path_fd);
    return result(fchmodat(h->proc_fd, name.text, mode & 07777, 0));
}

int host_chown(struct host *h, int path_fd, uint32_t uid, uint32_t gid)
{
    return result(fchownat(path_fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

int host_ftruncate(struct host *h, int fd, uint64_t size)
{
    return size > INT64_MAX ? -EFBIG : result(ftruncate(fd, (off_t)size));
}

int host_truncate(struct host *h, int path_fd, uint64_t size)
{
    /* O_NONBLOCK: a lease on the host must not hang the device. */
    int fd = host_open_file(h, path_fd, O_WRONLY | O_NONBLOCK);
    if (fd < 0)
        return fd;
    int rc = host_ftruncate(h, fd, size);
    close(fd);
    return rc;
}

int host_utimens(struct host *h, int path_fd, int64_t atime, int64_t atime_nsec, int64_t mtime, int64_t mtime_nsec)
{
    struct timespec ts[2] = {{.tv_sec = atime, .tv_nsec = atime_nsec}, {.tv_sec = mtime, .tv_nsec = mtime_nsec}};
    struct fd_name name = fd_name(path_fd);
    return result(utimensat(h->proc_fd, name.text, ts, 0));
}

int host_get_flags(struct host *h, int fd, uint32_t *flags)
{
    /* The argument is an int, whatever the number's size field says. */
    int value = 0;
    int rc = result(ioctl(fd, FS_IOC_GETFLAGS, &value));
    *flags = (uint32_t)value;
    return rc;
}

int host_set_flags(struct host *h, int fd, uint32_t flags)
{
    int value = (int)flags;
    return result(ioctl(fd, FS_IOC_SETFLAGS, &value));
}

int host_get_fsxattr(struct host *h, int fd, void *fsxattr)
{
    return result(ioctl(fd, FS_IOC_FSGETXATTR, (struct fsxattr *)fsxattr));
}

int host_set_fsxattr(struct host *h, int fd, const void *fsxattr)
{
    _Static_assert(sizeof(struct fsxattr) == 28, "struct fsxattr");
    return result(ioctl(fd, FS_IOC_FSSETXATTR, (const struct fsxattr *)fsxattr));
}
