/* SPDX-License-Identifier: Apache-2.0
 *
 * Thin host system calls for the executor in Python. Each returns >= 0 or -errno.
 *
 * Names are single components, checked by the caller ('/', NUL, "", ".", ".."). No call follows a symbolic link in
 * a name; none uses an absolute path: what needs a path goes through `proc_fd`, a directory descriptor of
 * /proc/self/fd. `path_fd` is an O_PATH descriptor of any file type, `fd` an open file.
 */
#ifndef STEADFS_HOSTCALLS_H
#define STEADFS_HOSTCALLS_H

#include "fuse/native/host/fuse_wire.h"
#include "fuse/native/host/record_texts.h"
#include "fuse/native/tables/handles.h"
#include "fuse/native/tables/inodes.h"
#include "specs/native/limits.h"

#include <stdint.h>
#include <sys/stat.h>

/* cdef begin */
enum found_flag {
    FOUND_MOUNT_ROOT = 1, /* the root of a mount (STATX_ATTR_MOUNT_ROOT) */
    FOUND_SUBMOUNT = 2    /* a directory on another mount than the parent_mnt_id that was given */
};

/* What a look-up found. The caller owns fd. */
struct found {
    int32_t fd;          /* O_PATH, or -1 */
    int32_t error;       /* of one entry of a scan: 0 or a positive errno */
    int32_t handle_type;
    uint32_t handle_len; /* 0: this file has no file handle (or handles are off) */
    uint32_t mode;       /* st_mode, all of it */
    uint32_t flags;      /* enum found_flag */
    uint32_t btime_nsec;
    uint32_t btime_known;
    int64_t btime_sec;
    uint64_t dev;
    uint64_t ino;
    uint64_t mnt_id;
    struct wire_attr attr; /* as it goes into a reply */
    uint8_t handle[HANDLE_BYTES_MAX];
};

/* One entry of a directory for READDIRPLUS. */
struct scan_entry {
    struct found found; /* error ENOENT for "." and "..", which FUSE does not look up */
    uint64_t off;       /* where the next scan goes on after this entry */
    uint64_t ino;
    uint32_t type; /* DT_* */
    uint32_t namelen;
    char name[LIMIT_NAME_MAX_BYTES + 1]; /* NUL-terminated */
    uint32_t dirent_bytes;
    uint8_t dirent[288]; /* struct fuse_dirent and the name, padded to 8 bytes: ready for a reply */
};
/* cdef end */

/* An inode's record as canonical JSON: seven numbers of at most 20 digits, 256 digits of handle, the names. */
#define INODE_TEXT_BYTES 640u

/* Mounts remembered as giving no handles that work; of more, the oldest is asked again. */
#define NO_HANDLES_MAX 64u

/* A file below the share is known once for each mount that shows it; of more mounts than this the rest is not looked at. */
#define WATCHED_MAX 4u

/* A pinned inode that may lose its last name. */
struct watched {
    uint64_t nodeid;
    uint32_t pin; /* in inode_pins */
};

struct host {
    int32_t proc_fd;
    uint32_t use_handles;        /* ask for file handles */
    uint32_t announce_submounts; /* set FUSE_ATTR_SUBMOUNT in attr.flags */
    struct budget budget;
    struct mounts mounts;
    struct inodes inodes;
    struct handles handles;
    struct inode_pin inode_pins[12]; /* the executor's pins; RENAME2 needs four and the watched, the rest is slack */
    struct handle *handle_pins[12];
    struct watched watched[WATCHED_MAX];
    uint32_t watched_n;
    uint32_t inode_pins_n;
    uint32_t handle_pins_n;
    uint64_t no_handles[NO_HANDLES_MAX];
    uint32_t no_handles_n; /* ever remembered in this session */
    char entered[INODE_TEXT_BYTES]; /* of the inode that table_inode_enter added last */
    struct record_texts texts;
};

/* cdef begin */
/* Takes proc_fd over. NULL and errno when out of memory. `fds_reserved` of all descriptors that this process may have are not the
 * guest's. */
struct host *host_new(int proc_fd, uint32_t inodes_max, uint32_t handles_max, uint32_t cache_fds_max, uint32_t fds_reserved);
/* Before anything is entered, loaded or recorded. */
void host_set_texts(struct host *h, const struct record_texts *texts);
/* Closes every descriptor of the tables. */
void host_free(struct host *h);

/* attr and the rest of f, but neither fd nor handle, from a descriptor of any kind. */
int host_stat(struct host *h, int fd, struct found *f);
/* host_stat and the file handle; f->fd is set to path_fd. */
int host_identify(struct host *h, int path_fd, struct found *f);
/* Opens a name O_PATH and identifies it. Whether it is a submount is told when parent_mnt_id is given, or 0 and dir_fd
 * is an inode that the executor has pinned. */
int host_open_path(struct host *h, int dir_fd, const char *name, uint64_t parent_mnt_id, struct found *f);
/* Identifies an open file, which may have no name, by a new O_PATH descriptor. */
int host_find_file(struct host *h, int fd, struct found *f);
/* 1 when handles of that mount can be opened by this process, else 0 (no CAP_DAC_READ_SEARCH, or the file system
 * can't); the mount must be in the table. */
int host_handles_work(struct host *h, const struct found *f);
/* A descriptor on the mount of a directory or regular file, for mounts_add. */
int host_mount_fd(struct host *h, int path_fd);

/* Room for n more descriptors of the guest's, until host_let_go or a table takes them: 0 or -ENFILE. The cache gives way. */
int host_room(struct host *h, uint32_t n);
/* The same for an inode of the pinned directory dir_fd, if only a descriptor could hold it. */
int host_entry_room(struct host *h, int dir_fd);
/* Descriptors that are not in the tables, but may not be the guest's meanwhile: n more, or less. */
void host_count_fds(struct host *h, int64_t n);
/* How many more the guest may have. */
int64_t host_fds_room(struct host *h);

/* Pins the inodes with these numbers that only file handles hold, if the guest knows any, since they are about to lose a name.
 * 0; -ENFILE: no room for a descriptor; or an error of loading them. */
int host_watch(struct host *h, uint64_t dev, uint64_t ino);
/* The next of them that has no name any more: its nodeid, and the descriptor that holds it from now on (to be recorded); or 0. */
uint64_t host_unnamed(struct host *h, int32_t *fd);

/* Pins for the executor's thread, released together by host_unpin. The descriptor or -errno. */
int host_pin(struct host *h, uint64_t nodeid);
int host_pin_handle(struct host *h, uint64_t fh, uint64_t nodeid, int kind);
void host_unpin(struct host *h);
/* The end of a request: unpins all, closes found->fd and those of n scanned entries that nobody took over. */
void host_let_go(struct host *h, struct found *found, struct scan_entry *entries, uint32_t n);

/* Opens a regular file or directory anew; ENXIO for fifos, sockets and devices, ELOOP for symbolic links (the
 * guest's kernel serves those by itself, and opening them here could block or act on a device of the host). */
int host_reopen(struct host *h, int path_fd, int flags);
/* The same of a regular file only, EISDIR for a directory: a handle of a file is never one. */
int host_open_file(struct host *h, int path_fd, int flags);
/* A directory for reading; ENOTDIR for all else, which isn't opened. */
int host_open_dir(struct host *h, int path_fd);
/* O_CREAT | O_EXCL always: a name that exists, even as a dangling link, is EEXIST. */
int host_create(struct host *h, int dir_fd, const char *name, int flags, uint32_t mode);
int host_tmpfile(struct host *h, int dir_fd, int flags, uint32_t mode);
int host_mkdir(struct host *h, int dir_fd, const char *name, uint32_t mode);
int host_mknod(struct host *h, int dir_fd, const char *name, uint32_t mode, uint32_t rdev);
int host_symlink(struct host *h, const char *target, int dir_fd, const char *name);
int host_link(struct host *h, int path_fd, int dir_fd, const char *name);
int host_unlink(struct host *h, int dir_fd, const char *name, int is_dir);
int host_rename(struct host *h, int old_dir, const char *old_name, int new_dir, const char *new_name, uint32_t flags);
/* Bytes of the target, no NUL; ENAMETOOLONG when room is too small, EINVAL where it is no symbolic link. */
int host_readlink(struct host *h, int path_fd, char *target, uint32_t room);

int host_chmod(struct host *h, int path_fd, uint32_t mode);
int host_chown(struct host *h, int path_fd, uint32_t uid, uint32_t gid);
int host_truncate(struct host *h, int path_fd, uint64_t size);
int host_ftruncate(struct host *h, int fd, uint64_t size);
/* nsec may be UTIME_NOW or UTIME_OMIT. */
int host_utimens(struct host *h, int path_fd, int64_t atime, int64_t atime_nsec, int64_t mtime, int64_t mtime_nsec);

/* Extended attributes of any file type, also of a symbolic link itself. Where the kernel lacks setxattrat(2)
 * (before 6.13) the calling thread's working directory becomes proc_fd, once and for good; but for the process' first
 * thread's, whose calls another thread does. */
int host_setxattr(struct host *h, int path_fd, const char *name, const void *value, uint32_t size, int flags);
int host_removexattr(struct host *h, int path_fd, const char *name);
int host_getxattr(struct host *h, int path_fd, const char *name, void *value, uint32_t size);
int host_listxattr(struct host *h, int path_fd, void *list, uint32_t size);
/* 1: never use the *xattrat(2) calls, for tests. */
void host_xattr_by_cwd(int on);

/* FS_IOC_GETFLAGS and SETFLAGS, FS_IOC_FSGETXATTR and FSSETXATTR (struct fsxattr, 28 bytes). */
int host_get_flags(struct host *h, int fd, uint32_t *flags);
int host_set_flags(struct host *h, int fd, uint32_t flags);
int host_get_fsxattr(struct host *h, int fd, void *fsxattr);
int host_set_fsxattr(struct host *h, int fd, const void *fsxattr);

/* Entries of the directory handle from offset that fit in `bytes` of fuse_direntplus, at most max; each opened as
 * by host_open_path. keep_fds 0: descriptors of entries that have a file handle are closed again. 0 at the end;
 * EINVAL when not even one fits. */
int host_scan(struct host *h, uint64_t fh, uint64_t offset, uint32_t bytes, int keep_fds, struct scan_entry *entries,
              uint32_t max);

int host_close(int fd);
/* cdef end */

/* stat -> fuse_attr; flags 0. */
void attr_from_stat(const struct stat *st, struct wire_attr *attr);
/* fstat(2) without glibc's detour by way of newfstatat; works on O_PATH. */
int fast_fstat(int fd, struct stat *st);

#endif
