/* GETATTR, STATX, SETATTR, STATFS, ACCESS: modes, owners, sizes, times. */
#include "check.h"

#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <time.h>

static int recent(struct timespec when)
{
    return llabs((long long)when.tv_sec - (long long)time(NULL)) <= 5;
}

static void modes_and_owners(void)
{
    put_file("plain", "0123456789", 10, 0644);
    struct stat st = status_of("plain");
    EXPECT("getattr tells type, mode, links and size", st.st_mode == (S_IFREG | 0644) && st.st_nlink == 1 && st.st_size == 10);
    EXPECT("getattr tells the owner", st.st_uid == 0 && st.st_gid == 0);
    EXPECT("getattr tells blocks", st.st_blocks > 0 && st.st_blksize > 0);
    EXPECT("chmod", chmod("plain", 0751) == 0 && status_of("plain").st_mode == (S_IFREG | 0751));
    EXPECT("chmod of set-id and sticky bits", chmod("plain", 07777) == 0 && status_of("plain").st_mode == (S_IFREG | 07777));
    int fd = open("plain", O_RDWR);
    EXPECT("fchmod", fchmod(fd, 0600) == 0 && status_of("plain").st_mode == (S_IFREG | 0600));
    EXPECT("chown", chown("plain", 1234, 2345) == 0 && status_of("plain").st_uid == 1234 && status_of("plain").st_gid == 2345);
    EXPECT("chown of the group alone", chown("plain", (uid_t)-1, 77) == 0 && status_of("plain").st_uid == 1234 && status_of("plain").st_gid == 77);
    EXPECT("fchown", fchown(fd, 0, 0) == 0 && status_of("plain").st_uid == 0);
    EXPECT("ids beyond 16 bits", chown("plain", 3000000000u, 4000000000u) == 0 && status_of("plain").st_uid == 3000000000u);
    MUST(symlink("plain", "link"));
    EXPECT("lchown changes the link, not its target",
           lchown("link", 5, 6) == 0 && status_of("link").st_uid == 5 && status_of("plain").st_uid == 3000000000u);
    MUST(close(fd));
}

static void sizes(void)
{
    put_file("sized", "0123456789", 10, 0644);
    EXPECT("truncate shrinks", truncate("sized", 4) == 0 && file_holds("sized", "0123", 4));
    EXPECT("truncate grows with zeros", truncate("sized", 8) == 0 && file_holds("sized", "0123\0\0\0\0", 8));
    int fd = open("sized", O_RDWR);
    EXPECT("ftruncate", ftruncate(fd, 2) == 0 && status_of("sized").st_size == 2);
    EXPECT("ftruncate to 5 GiB", ftruncate(fd, 5LL << 30) == 0 && status_of("sized").st_size == 5LL << 30);
    MUST(ftruncate(fd, 2));
    MUST(close(fd));
    fd = open("sized", O_RDONLY);
    EXPECT_ERROR("ftruncate of a descriptor open for reading", ftruncate(fd, 0), EINVAL);
    MUST(close(fd));
    EXPECT_ERROR("truncate of a directory", truncate(".", 0), EISDIR);
    EXPECT_ERROR("truncate of nothing", truncate("absent", 0), ENOENT);
    EXPECT_ERROR("truncate below zero", truncate("sized", -1), EINVAL);
}

static void times(void)
{
    struct timespec both[2] = {{.tv_sec = 1000000000, .tv_nsec = 123456789}, {.tv_sec = 1100000000, .tv_nsec = 987654321}};
    put_file("timed", "x", 1, 0644);
    EXPECT("utimensat sets both times to the nanosecond", utimensat(AT_FDCWD, "timed", both, 0) == 0);
    struct stat st = status_of("timed");
    EXPECT("access time as set", st.st_atim.tv_sec == 1000000000 && st.st_atim.tv_nsec == 123456789);
    EXPECT("modification time as set", st.st_mtim.tv_sec == 1100000000 && st.st_mtim.tv_nsec == 987654321);
    EXPECT("change time is now", recent(st.st_ctim));
    struct timespec omit[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
    EXPECT("UTIME_OMIT and UTIME_NOW", utimensat(AT_FDCWD, "timed", omit, 0) == 0);
    st = status_of("timed");
    EXPECT("an omitted time stays", st.st_atim.tv_sec == 1000000000 && st.st_atim.tv_nsec == 123456789);
    EXPECT("now is now", recent(st.st_mtim));
    int fd = open("timed", O_RDWR);
    EXPECT("futimens", futimens(fd, both) == 0 && status_of("timed").st_mtim.tv_nsec == 987654321);
    EXPECT("write moves the modification time", write(fd, "y", 1) == 1 && fsync(fd) == 0 && recent(status_of("timed").st_mtim));
    MUST(close(fd));
    struct timespec old[2] = {{.tv_sec = -86400}, {.tv_sec = -86400}};
    EXPECT("times before 1970", utimensat(AT_FDCWD, "timed", old, 0) == 0 && status_of("timed").st_mtim.tv_sec == -86400);
    MUST(symlink("timed", "timed-link"));
    EXPECT("times of a symbolic link itself", utimensat(AT_FDCWD, "timed-link", both, AT_SYMLINK_NOFOLLOW) == 0 &&
                                                  status_of("timed-link").st_mtim.tv_sec == 1100000000 &&
                                                  status_of("timed").st_mtim.tv_sec == -86400);
    MUST(mkdir("dir", 0755));
    EXPECT("times of a directory", utimensat(AT_FDCWD, "dir", both, 0) == 0 && status_of("dir").st_mtim.tv_sec == 1100000000);
    put_file("dir/entry", "", 0, 0644);
    EXPECT("a new entry moves the directory's time", recent(status_of("dir").st_mtim));
    EXPECT_ERROR("times of nothing", utimensat(AT_FDCWD, "absent", both, 0), ENOENT);
}

static void extended_stat(void)
{
    struct statx stx;
    memset(&stx, 0, sizeof stx);
    put_file("extended", "12345", 5, 0640);
    EXPECT("statx basic", statx(AT_FDCWD, "extended", 0, STATX_BASIC_STATS, &stx) == 0 && stx.stx_size == 5 && (stx.stx_mode & 07777) == 0640);
    const char *name = "statx tells the birth time";
    if (!kernel_at_least(6, 6))
        skip(name, "kernel older than 6.6");
    else if (statx(AT_FDCWD, "extended", AT_STATX_FORCE_SYNC, STATX_BTIME, &stx) == 0 && (stx.stx_mask & STATX_BTIME))
        EXPECT(name, llabs((long long)stx.stx_btime.tv_sec - (long long)time(NULL)) <= 60);
    else
        report(0, name, "mask %x", stx.stx_mask);
}

static void file_system(void)
{
    struct statfs fs;
    EXPECT("statfs", statfs(".", &fs) == 0);
    EXPECT("statfs tells sizes", fs.f_bsize > 0 && fs.f_blocks > 0 && fs.f_bfree <= fs.f_blocks && fs.f_bavail <= fs.f_bfree);
    EXPECT("statfs tells the longest name", fs.f_namelen == 255);
    int fd = open("extended", O_RDONLY);
    EXPECT("fstatfs", fstatfs(fd, &fs) == 0 && fs.f_blocks > 0);
    MUST(close(fd));
}

static void permission_questions(void)
{
    put_file("asked", "", 0, 0644);
    EXPECT("access exists", access("asked", F_OK) == 0);
    EXPECT("access read and write", access("asked", R_OK | W_OK) == 0);
    EXPECT_ERROR("access execute without any x bit", access("asked", X_OK), EACCES);
    EXPECT_ERROR("access to nothing", access("absent", F_OK), ENOENT);
    MUST(chmod("asked", 0755));
    EXPECT("access execute", access("asked", X_OK) == 0);
}

int main(int argc, char **argv)
{
    enter(argc, argv, "attributes");
    modes_and_owners();
    sizes();
    times();
    extended_stat();
    file_system();
    permission_questions();
    return verdict();
}
