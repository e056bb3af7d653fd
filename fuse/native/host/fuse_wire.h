/* SPDX-License-Identifier: Apache-2.0
 *
 * The FUSE wire structs of the native lane, protocol 7.45 (include/uapi/linux/fuse.h).
 *
 * Declared here because the header of the build machine may be older. Names carry `wire_` so that both can be
 * included. Fields that we ignore are kept: sizes are part of the protocol.
 */
#ifndef STEADFS_FUSE_WIRE_H
#define STEADFS_FUSE_WIRE_H

#include <stdint.h>

#define WIRE_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)

/* cdef begin */
struct wire_attr {
    uint64_t ino;
    uint64_t size;
    uint64_t blocks;
    uint64_t atime;
    uint64_t mtime;
    uint64_t ctime;
    uint32_t atimensec;
    uint32_t mtimensec;
    uint32_t ctimensec;
    uint32_t mode;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint32_t rdev;
    uint32_t blksize;
    uint32_t flags;
};
/* cdef end */
WIRE_SIZE(wire_attr, 88);

#define WIRE_ATTR_SUBMOUNT (1u << 0)

struct wire_getattr_in {
    uint32_t getattr_flags;
    uint32_t dummy;
    uint64_t fh;
};
WIRE_SIZE(wire_getattr_in, 16);

#define WIRE_GETATTR_FH (1u << 0)

struct wire_attr_out {
    uint64_t attr_valid;
    uint32_t attr_valid_nsec;
    uint32_t dummy;
    struct wire_attr attr;
};
WIRE_SIZE(wire_attr_out, 104);

struct wire_statx_in {
    uint32_t getattr_flags;
    uint32_t reserved;
    uint64_t fh;
    uint32_t sx_flags;
    uint32_t sx_mask;
};
WIRE_SIZE(wire_statx_in, 24);

struct wire_sx_time {
    int64_t tv_sec;
    uint32_t tv_nsec;
    int32_t reserved;
};
WIRE_SIZE(wire_sx_time, 16);

struct wire_statx {
    uint32_t mask;
    uint32_t blksize;
    uint64_t attributes;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;
    uint16_t spare0;
    uint64_t ino;
    uint64_t size;
    uint64_t blocks;
    uint64_t attributes_mask;
    struct wire_sx_time atime;
    struct wire_sx_time btime;
    struct wire_sx_time ctime;
    struct wire_sx_time mtime;
    uint32_t rdev_major;
    uint32_t rdev_minor;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint64_t spare2[14];
};
WIRE_SIZE(wire_statx, 256);

struct wire_statx_out {
    uint64_t attr_valid;
    uint32_t attr_valid_nsec;
    uint32_t flags;
    uint64_t spare[2];
    struct wire_statx stat;
};
WIRE_SIZE(wire_statx_out, 288);

/* READ, READDIR and READDIRPLUS. */
struct wire_read_in {
    uint64_t fh;
    uint64_t offset;
    uint32_t size;
    uint32_t read_flags;
    uint64_t lock_owner;
    uint32_t flags;
    uint32_t padding;
};
WIRE_SIZE(wire_read_in, 40);

struct wire_write_in {
    uint64_t fh;
    uint64_t offset;
    uint32_t size;
    uint32_t write_flags;
    uint64_t lock_owner;
    uint32_t flags;
    uint32_t padding;
};
WIRE_SIZE(wire_write_in, 40);

#define WIRE_WRITE_CACHE (1u << 0)
#define WIRE_WRITE_KILL_SUIDGID (1u << 2)

struct wire_write_out {
    uint32_t size;
    uint32_t padding;
};
WIRE_SIZE(wire_write_out, 8);

struct wire_dirent {
    uint64_t ino;
    uint64_t off;
    uint32_t namelen;
    uint32_t type;
    /* the name follows, padded with zeros to a multiple of 8 */
};
WIRE_SIZE(wire_dirent, 24);

struct wire_entry_out {
    uint64_t nodeid;
    uint64_t generation;
    uint64_t entry_valid;
    uint64_t attr_valid;
    uint32_t entry_valid_nsec;
    uint32_t attr_valid_nsec;
    struct wire_attr attr;
};
/* Also stands before a direntplus' dirent. */
#define WIRE_ENTRY_OUT_BYTES 128u
WIRE_SIZE(wire_entry_out, WIRE_ENTRY_OUT_BYTES);

struct wire_open_in {
    uint32_t flags;
    uint32_t open_flags;
};
WIRE_SIZE(wire_open_in, 8);

#define WIRE_OPEN_KILL_SUIDGID (1u << 0)

struct wire_open_out {
    uint64_t fh;
    uint32_t open_flags;
    int32_t backing_id;
};
WIRE_SIZE(wire_open_out, 16);

struct wire_create_in {
    uint32_t flags;
    uint32_t mode;
    uint32_t umask;
    uint32_t open_flags;
};
WIRE_SIZE(wire_create_in, 16);

struct wire_mkdir_in {
    uint32_t mode;
    uint32_t umask;
};
WIRE_SIZE(wire_mkdir_in, 8);

struct wire_mknod_in {
    uint32_t mode;
    uint32_t rdev;
    uint32_t umask;
    uint32_t padding;
};
WIRE_SIZE(wire_mknod_in, 16);

struct wire_rename2_in {
    uint64_t newdir;
    uint32_t flags;
    uint32_t padding;
};
WIRE_SIZE(wire_rename2_in, 16);

struct wire_batch_forget_in {
    uint32_t count;
    uint32_t dummy;
};
WIRE_SIZE(wire_batch_forget_in, 8);

struct wire_forget_one {
    uint64_t nodeid;
    uint64_t nlookup;
};
WIRE_SIZE(wire_forget_one, 16);

struct wire_kstatfs {
    uint64_t blocks;
    uint64_t bfree;
    uint64_t bavail;
    uint64_t files;
    uint64_t ffree;
    uint32_t bsize;
    uint32_t namelen;
    uint32_t frsize;
    uint32_t padding;
    uint32_t spare[6];
};
WIRE_SIZE(wire_kstatfs, 80);

struct wire_fsync_in {
    uint64_t fh;
    uint32_t fsync_flags;
    uint32_t padding;
};
WIRE_SIZE(wire_fsync_in, 16);

#define WIRE_FSYNC_FDATASYNC (1u << 0)

struct wire_flush_in {
    uint64_t fh;
    uint32_t unused;
    uint32_t padding;
    uint64_t lock_owner;
};
WIRE_SIZE(wire_flush_in, 24);

struct wire_access_in {
    uint32_t mask;
    uint32_t padding;
};
WIRE_SIZE(wire_access_in, 8);

/* GETXATTR (a name follows) and LISTXATTR. */
struct wire_getxattr_in {
    uint32_t size;
    uint32_t padding;
};
WIRE_SIZE(wire_getxattr_in, 8);

struct wire_getxattr_out {
    uint32_t size;
    uint32_t padding;
};
WIRE_SIZE(wire_getxattr_out, 8);

struct wire_lseek_in {
    uint64_t fh;
    uint64_t offset;
    uint32_t whence;
    uint32_t padding;
};
WIRE_SIZE(wire_lseek_in, 24);

struct wire_lseek_out {
    uint64_t offset;
};
WIRE_SIZE(wire_lseek_out, 8);

struct wire_fallocate_in {
    uint64_t fh;
    uint64_t offset;
    uint64_t length;
    uint32_t mode;
    uint32_t padding;
};
WIRE_SIZE(wire_fallocate_in, 32);

/* COPY_FILE_RANGE and COPY_FILE_RANGE_64. */
struct wire_copy_file_range_in {
    uint64_t fh_in;
    uint64_t off_in;
    uint64_t nodeid_out;
    uint64_t fh_out;
    uint64_t off_out;
    uint64_t len;
    uint64_t flags;
};
WIRE_SIZE(wire_copy_file_range_in, 56);

struct wire_copy_file_range_out {
    uint64_t bytes_copied;
};
WIRE_SIZE(wire_copy_file_range_out, 8);

#endif
