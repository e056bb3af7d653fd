/* Who makes a file and who may: owners, umask, set-gid directories, supplementary groups, set-id clearing, refusals. Run as root. */
#include "check.h"

#include <grp.h>
#include <sys/wait.h>
#include <sys/xattr.h>

enum { USER = 1000, GROUP = 1000, OTHER = 1001, EXTRA = 2000 };

/* Run `body` in a child with these credentials (one supplementary group, or none when 0); its failed checks count here. */
static void as_user(uid_t uid, gid_t gid, gid_t extra, void (*body)(void))
{
    pid_t pid = fork();
    MUST(pid);
    if (pid == 0) {
        failed_checks = 0;
        MUST(setgroups(extra ? 1 : 0, &extra));
        MUST(setgid(gid));
        MUST(setuid(uid));
        body();
        _exit(failed_checks > 100 ? 100 : failed_checks);
    }
    int status = 0;
    MUST(waitpid(pid, &status, 0));
    if (!WIFEXITED(status))
        report(0, "child", "status %x", status);
    else
        failed_checks += WEXITSTATUS(status);
}

static int owned(const char *path, uid_t uid, gid_t gid)
{
    struct stat st = status_of(path);
    return st.st_nlink > 0 && st.st_uid == uid && st.st_gid == gid;
}

static int mode_is(const char *path, mode_t mode)
{
    return (status_of(path).st_mode & 07777) == mode;
}

/* Asked anew: a guest keeps a mode it knows over an open that truncates (Linux: only size and times are invalidated). */
static int mode_is_by_now(const char *path, mode_t mode)
{
    struct statx found = {0};
    return statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &found) == 0 && (found.stx_mode & 07777) == mode;
}

static void make_things(void)
{
    umask(027);
    int fd = open("open/file", O_WRONLY | O_CREAT | O_EXCL, 0666);
    EXPECT("a created file is the creator's", fd >= 0 && owned("open/file", USER, GROUP));
    EXPECT("umask holds for files", mode_is("open/file", 0640));
    EXPECT("the creator writes it", write(fd, "mine", 4) == 4 && close(fd) == 0);
    EXPECT("a directory is the creator's", mkdir("open/dir", 0777) == 0 && owned("open/dir", USER, GROUP) && mode_is("open/dir", 0750));
    EXPECT("a fifo is the creator's", mkfifo("open/fifo", 0666) == 0 && owned("open/fifo", USER, GROUP) && mode_is("open/fifo", 0640));
    EXPECT("a symbolic link is the creator's", symlink("file", "open/link") == 0 && owned("open/link", USER, GROUP));
    umask(0);
    EXPECT("umask 0", mkdir("open/wide", 0777) == 0 && mode_is("open/wide", 0777));
    fd = open("open/private", O_RDWR | O_CREAT, 0000);
    EXPECT("a file of mode 0 is open for its creator", fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
    EXPECT_ERROR("and closed once closed", open("open/private", O_RDONLY), EACCES);
    fd = kernel_at_least(6, 2) ? open("open", O_TMPFILE | O_RDWR, 0644) : -2;
    struct stat st;
    if (fd == -2)
        skip("a nameless file is the creator's", "kernel older than 6.2");
    else
        EXPECT("a nameless file is the creator's", fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == USER && st.st_gid == GROUP);
    close(fd);
}

static void be_refused(void)
{
    EXPECT_ERROR("no file in a closed directory", open("closed/x", O_WRONLY | O_CREAT, 0644), EACCES);
    EXPECT_ERROR("no lookup in a closed directory", open("closed/secret", O_RDONLY), EACCES);
    EXPECT_ERROR("no mkdir in root's directory", mkdir("rootdir/x", 0755), EACCES);
    EXPECT_ERROR("no unlink in root's directory", unlink("rootdir/file"), EACCES);
    EXPECT_ERROR("no rename in root's directory", rename("rootdir/file", "rootdir/other"), EACCES);
    EXPECT_ERROR("no write to root's file", open("rootdir/file", O_WRONLY), EACCES);
    EXPECT("but reading", file_holds("rootdir/file", "root", 4));
    EXPECT_ERROR("no chmod of root's file", chmod("rootdir/file", 0666), EPERM);
    EXPECT_ERROR("no chown", chown("rootdir/file", USER, GROUP), EPERM);
    EXPECT_ERROR("no giving away", chown("open/file", OTHER, (gid_t)-1), EPERM);
    EXPECT_ERROR("no unlink of another's file under a sticky bit", unlink("sticky/roots"), EPERM);
    EXPECT_ERROR("no device", mknod("open/device", S_IFCHR | 0600, 0x103), EPERM);
    EXPECT_ERROR("no trusted attributes", setxattr("open/file", "trusted.x", "x", 1, 0), EPERM);
    struct timespec fixed[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    EXPECT_ERROR("no times of a file one may write but not own", utimensat(AT_FDCWD, "open/shared", fixed, 0), EPERM);
    EXPECT("but now", utimensat(AT_FDCWD, "open/shared", NULL, 0) == 0);
}

static void make_in_group_directory(void)
{
    umask(0);
    int fd = open("setgid/file", O_WRONLY | O_CREAT | O_EXCL, 0664);
    EXPECT("a file in a set-gid directory takes its group", fd >= 0 && owned("setgid/file", USER, EXTRA));
    close(fd);
    EXPECT("a directory takes group and bit", mkdir("setgid/dir", 0755) == 0 && owned("setgid/dir", USER, EXTRA) && mode_is("setgid/dir", 02755));
    EXPECT("a fifo takes the group", mkfifo("setgid/fifo", 0644) == 0 && owned("setgid/fifo", USER, EXTRA));
    EXPECT("a symbolic link takes the group", symlink("x", "setgid/link") == 0 && owned("setgid/link", USER, EXTRA));
}

static void make_as_member(void)
{
    umask(0);
    int fd = open("groupdir/file", O_WRONLY | O_CREAT | O_EXCL, 0644);
    EXPECT("a directory is open to its group's further members", fd >= 0 && owned("groupdir/file", USER, GROUP));
    close(fd);
    EXPECT("mkdir as a further member", mkdir("groupdir/dir", 0755) == 0);
    EXPECT("rename as a further member", rename("groupdir/file", "groupdir/renamed") == 0);
    EXPECT("unlink as a further member", unlink("groupdir/renamed") == 0);
    EXPECT("chgrp to a further group", chown("open/file", (uid_t)-1, EXTRA) == 0 && owned("open/file", USER, EXTRA));
    fd = open("setgid/program", O_WRONLY | O_CREAT | O_EXCL, 02775);
    EXPECT("a member makes a set-gid program", fd >= 0 && owned("setgid/program", USER, EXTRA) && mode_is("setgid/program", 02775));
    close(fd);
}

static void make_as_stranger(void)
{
    umask(0);
    int fd = open("setgid/stranger", O_WRONLY | O_CREAT | O_EXCL, 02775);
    EXPECT("a stranger makes no set-gid program", fd >= 0 && mode_is("setgid/stranger", 0775));
    close(fd);
}

static void lose_bits(void)
{
    int fd = open("bits/write", O_WRONLY);
    EXPECT("a write takes the set-id bits", fd >= 0 && write(fd, "x", 1) == 1 && mode_is("bits/write", 0777));
    close(fd);
    EXPECT("a truncate takes them", truncate("bits/truncate", 1) == 0 && mode_is("bits/truncate", 0777));
    fd = open("bits/trunc", O_WRONLY | O_TRUNC);
    EXPECT("O_TRUNC takes them", fd >= 0 && mode_is_by_now("bits/trunc", 0777));
    close(fd);
    fd = open("bits/fallocate", O_WRONLY);
    EXPECT("fallocate takes them", fd >= 0 && fallocate(fd, 0, 0, 100) == 0 && mode_is("bits/fallocate", 0777));
    close(fd);
    EXPECT("chgrp takes them", chown("bits/chgrp", (uid_t)-1, GROUP) == 0 && mode_is("bits/chgrp", 0777));
    fd = open("bits/lock", O_WRONLY);
    EXPECT("set-gid without group execution stays at a write by a member", fd >= 0 && write(fd, "x", 1) == 1 && mode_is("bits/lock", 02767));
    close(fd);
    fd = open("bits/capable", O_WRONLY);
    char value[64];
    EXPECT("a write takes file capabilities", fd >= 0 && write(fd, "x", 1) == 1 && getxattr("bits/capable", "security.capability", value, sizeof value) == -1);
    close(fd);
}

static void make_bit_files(void)
{
    const char *names[] = {"write", "truncate", "trunc", "fallocate", "chgrp", "lock", "root-write", "root-chown", "capable"};
    char path[64];
    MUST(mkdir("bits", 0755));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "bits/%s", names[i]);
        put_file(path, "data", 4, 0644);
        MUST(chown(path, USER, GROUP));
        MUST(chmod(path, strcmp(names[i], "lock") == 0 ? 02767 : 06777));
    }
}

/* struct vfs_cap_data, version 2 (linux/capability.h): CAP_NET_RAW permitted and effective. */
static const unsigned char net_raw[20] = {0x01, 0, 0, 0x02, 0x00, 0x20, 0, 0};

static void set_id_bits(void)
{
    make_bit_files();
    int capable = setxattr("bits/capable", "security.capability", net_raw, sizeof net_raw, 0) == 0;
    EXPECT("root sets file capabilities", capable);
    as_user(USER, GROUP, 0, lose_bits);
    int fd = open("bits/root-write", O_WRONLY);
    EXPECT("root's write leaves the set-id bits", fd >= 0 && write(fd, "x", 1) == 1 && mode_is("bits/root-write", 06777));
    close(fd);
    EXPECT("root's chown takes them", chown("bits/root-chown", OTHER, OTHER) == 0 && mode_is("bits/root-chown", 0777));
}

int main(int argc, char **argv)
{
    enter(argc, argv, "credentials");
    umask(0);
    MUST(mkdir("open", 0777));
    put_file("open/shared", "s", 1, 0666);
    MUST(mkdir("closed", 0700));
    put_file("closed/secret", "s", 1, 0644);
    MUST(mkdir("rootdir", 0755));
    put_file("rootdir/file", "root", 4, 0644);
    MUST(mkdir("sticky", 01777));
    put_file("sticky/roots", "", 0, 0666);
    MUST(chmod("sticky", 01777));
    MUST(mkdir("setgid", 0777));
    MUST(chown("setgid", 0, EXTRA));
    MUST(chmod("setgid", 02777));
    MUST(mkdir("groupdir", 0770));
    MUST(chown("groupdir", 0, EXTRA));
    as_user(USER, GROUP, 0, make_things);
    as_user(USER, GROUP, 0, be_refused);
    as_user(USER, GROUP, 0, make_in_group_directory);
    as_user(USER, GROUP, EXTRA, make_as_member);
    as_user(USER, GROUP, 0, make_as_stranger);
    set_id_bits();
    return verdict();
}
