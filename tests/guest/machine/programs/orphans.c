/* Files without a name: removed while open, TMPFILE, replaced by rename. */
#include "check.h"

static void removed_while_open(void)
{
    put_file("gone", "still here", 10, 0644);
    int fd = open("gone", O_RDWR), second = open("gone", O_RDONLY);
    char back[32] = "";
    struct stat st;
    MUST(fd);
    MUST(second);
    MUST(unlink("gone"));
    EXPECT("the name is gone", !exists("gone"));
    EXPECT("an unlinked file is read", read(fd, back, sizeof back) == 10 && memcmp(back, "still here", 10) == 0);
    EXPECT("an unlinked file is written", pwrite(fd, "STILL", 5, 0) == 5 && pread(second, back, 5, 0) == 5 && memcmp(back, "STILL", 5) == 0);
    EXPECT("an unlinked file has no links", fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 10);
    EXPECT("an unlinked file is truncated", ftruncate(fd, 3) == 0 && fstat(fd, &st) == 0 && st.st_size == 3);
    EXPECT("an unlinked file gets another mode", fchmod(fd, 0600) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600);
    EXPECT("an unlinked file gets another owner", fchown(fd, 7, 8) == 0 && fstat(fd, &st) == 0 && st.st_uid == 7 && st.st_gid == 8);
    EXPECT("fsync of an unlinked file", fsync(fd) == 0);
    put_file("gone", "successor", 9, 0644);
    EXPECT("a successor of that name is another file", file_holds("gone", "successor", 9) && pread(fd, back, 3, 0) == 3 && memcmp(back, "STI", 3) == 0);
    close(fd);
    close(second);
    EXPECT("the successor outlives it", file_holds("gone", "successor", 9));
}

static void removed_directory(void)
{
    MUST(mkdir("lost", 0755));
    int fd = open("lost", O_RDONLY | O_DIRECTORY);
    struct stat st;
    MUST(rmdir("lost"));
    EXPECT("a removed directory has no links", fstat(fd, &st) == 0 && st.st_nlink == 0);
    EXPECT_ERROR("nothing can be made in a removed directory", openat(fd, "x", O_WRONLY | O_CREAT, 0644), ENOENT);
    close(fd);
}

static void replaced_while_open(void)
{
    put_file("config", "old", 3, 0644);
    put_file("config.new", "new", 3, 0644);
    int fd = open("config", O_RDONLY);
    char back[3];
    MUST(rename("config.new", "config"));
    EXPECT("a replaced file is still the old one when open", pread(fd, back, 3, 0) == 3 && memcmp(back, "old", 3) == 0);
    EXPECT("the name is the new one", file_holds("config", "new", 3));
    close(fd);
}

static void nameless(void)
{
    const char *name = "O_TMPFILE makes a file without a name";
    char link_path[64], back[8];
    struct stat st;
    if (!kernel_at_least(6, 2)) {
        skip(name, "kernel older than 6.2");
        return;
    }
    int fd = open(".", O_TMPFILE | O_RDWR, 0640);
    if (fd < 0) {
        report(0, name, "%s", strerror(errno));
        return;
    }
    EXPECT(name, fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_mode == (S_IFREG | 0640));
    EXPECT("a nameless file is written and read", write(fd, "tmpfile", 7) == 7 && pread(fd, back, 7, 0) == 7 && memcmp(back, "tmpfile", 7) == 0);
    snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
    EXPECT("linkat gives it a name", linkat(AT_FDCWD, link_path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0 && file_holds("named", "tmpfile", 7));
    EXPECT("its link count is 1", fstat(fd, &st) == 0 && st.st_nlink == 1);
    close(fd);
    fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
    EXPECT("O_TMPFILE|O_EXCL", fd >= 0);
    if (fd >= 0)
        EXPECT_ERROR("O_TMPFILE|O_EXCL never gets a name", linkat(AT_FDCWD, link_path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW), ENOENT);
    close(fd);
    EXPECT_ERROR("O_TMPFILE for reading only", open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
}

int main(int argc, char **argv)
{
    enter(argc, argv, "orphans");
    removed_while_open();
    removed_directory();
    replaced_while_open();
    nameless();
    return verdict();
}
