/* LOOKUP, MKDIR, RMDIR, MKNOD, SYMLINK, READLINK, LINK, UNLINK, RENAME, RENAME2, and names of every kind. */
#include "check.h"

#include <linux/fs.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static int renameat2_(const char *from, const char *to, unsigned int flags)
{
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void directories(void)
{
    EXPECT("mkdir", mkdir("d", 0750) == 0 && status_of("d").st_mode == (S_IFDIR | 0750) && status_of("d").st_nlink == 2);
    EXPECT_ERROR("mkdir of an existing name", mkdir("d", 0750), EEXIST);
    EXPECT_ERROR("mkdir below nothing", mkdir("absent/d", 0750), ENOENT);
    put_file("f", "f", 1, 0644);
    EXPECT_ERROR("mkdir below a file", mkdir("f/d", 0750), ENOTDIR);
    EXPECT("mkdir below", mkdir("d/e", 0755) == 0 && status_of("d").st_nlink == 3);
    EXPECT_ERROR("rmdir of a full directory", rmdir("d"), ENOTEMPTY);
    EXPECT_ERROR("rmdir of a file", rmdir("f"), ENOTDIR);
    EXPECT_ERROR("unlink of a directory", unlink("d/e"), EISDIR);
    EXPECT("rmdir", rmdir("d/e") == 0 && !exists("d/e") && status_of("d").st_nlink == 2);
    EXPECT_ERROR("rmdir of nothing", rmdir("d/e"), ENOENT);
    EXPECT_ERROR("unlink of nothing", unlink("absent"), ENOENT);
    EXPECT_ERROR("a path through a file", open("f/x", O_RDONLY), ENOTDIR);
}

static void nodes(void)
{
    EXPECT("mknod of a fifo", mknod("fifo", S_IFIFO | 0620, 0) == 0 && status_of("fifo").st_mode == (S_IFIFO | 0600));
    EXPECT("mknod of a regular file", mknod("regular", S_IFREG | 0640, 0) == 0 && status_of("regular").st_size == 0);
    EXPECT("mknod of a character device",
           mknod("null", S_IFCHR | 0600, makedev(1, 3)) == 0 && status_of("null").st_rdev == makedev(1, 3));
    EXPECT("mknod of a block device",
           mknod("block", S_IFBLK | 0600, makedev(259, 70000)) == 0 && status_of("block").st_rdev == makedev(259, 70000));
    EXPECT("mknod of a socket", mknod("socket", S_IFSOCK | 0600, 0) == 0 && S_ISSOCK(status_of("socket").st_mode));
    EXPECT_ERROR("mknod of an existing name", mknod("fifo", S_IFIFO | 0600, 0), EEXIST);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "bound"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT("bind makes a socket", bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && S_ISSOCK(status_of("bound").st_mode));
    close(fd);
    fd = open("fifo", O_RDWR | O_NONBLOCK);
    EXPECT("a fifo carries data", write(fd, "hey", 3) == 3 && read(fd, (char[3]){0}, 3) == 3);
    close(fd);
}

static void links(void)
{
    char target[PATH_MAX + 1] = "", found[PATH_MAX + 1] = "";
    EXPECT("symlink", symlink("f", "s") == 0 && S_ISLNK(status_of("s").st_mode) && status_of("s").st_size == 1);
    EXPECT("readlink", readlink("s", found, sizeof found) == 1 && found[0] == 'f');
    EXPECT("a symlink is followed", file_holds("s", "f", 1));
    EXPECT_ERROR("symlink over an existing name", symlink("f", "s"), EEXIST);
    EXPECT_ERROR("readlink of a file", readlink("f", found, sizeof found), EINVAL);
    MUST(symlink("nowhere", "dangling"));
    EXPECT_ERROR("a dangling symlink", open("dangling", O_RDONLY), ENOENT);
    MUST(symlink("loop", "loop"));
    EXPECT_ERROR("a symlink to itself", open("loop", O_RDONLY), ELOOP);
    EXPECT_ERROR("O_NOFOLLOW", open("s", O_RDONLY | O_NOFOLLOW), ELOOP);
    memset(target, 't', 4000);
    EXPECT("a target of 4000 bytes", symlink(target, "long-target") == 0 && readlink("long-target", found, sizeof found) == 4000 &&
                                         memcmp(target, found, 4000) == 0);
    EXPECT("a target with any bytes", symlink("\xff\xfe\n\\", "odd-target") == 0 && readlink("odd-target", found, sizeof found) == 4 &&
                                          memcmp(found, "\xff\xfe\n\\", 4) == 0);
    EXPECT("link", link("f", "hard") == 0 && status_of("f").st_nlink == 2 && status_of("f").st_ino == status_of("hard").st_ino);
    EXPECT_ERROR("link over an existing name", link("f", "hard"), EEXIST);
    EXPECT_ERROR("link to a directory", link("d", "hard-dir"), EPERM);
    EXPECT_ERROR("link to nothing", link("absent", "hard-absent"), ENOENT);
    EXPECT("link to a symlink itself", linkat(AT_FDCWD, "s", AT_FDCWD, "hard-link", 0) == 0 && S_ISLNK(status_of("hard-link").st_mode));
    EXPECT("unlink of one of two", unlink("hard") == 0 && !exists("hard") && status_of("f").st_nlink == 1 && file_holds("f", "f", 1));
}

static void renames(void)
{
    put_file("a", "a", 1, 0644);
    put_file("b", "b", 1, 0644);
    ino_t inode = status_of("a").st_ino;
    EXPECT("rename", rename("a", "c") == 0 && !exists("a") && status_of("c").st_ino == inode);
    EXPECT("rename over a file", rename("c", "b") == 0 && !exists("c") && file_holds("b", "a", 1));
    EXPECT("rename to itself", rename("b", "b") == 0 && exists("b"));
    MUST(mkdir("from", 0755));
    MUST(mkdir("to", 0755));
    MUST(mkdir("from/sub", 0755));
    put_file("from/sub/x", "x", 1, 0644);
    EXPECT("rename of a directory into another", rename("from/sub", "to/sub") == 0 && file_holds("to/sub/x", "x", 1) && !exists("from/sub"));
    EXPECT("link counts follow the directory", status_of("from").st_nlink == 2 && status_of("to").st_nlink == 3);
    EXPECT("rename over an empty directory", rename("to/sub", "from") == 0 && file_holds("from/x", "x", 1));
    EXPECT_ERROR("rename over a full directory", rename("to", "from"), ENOTEMPTY);
    EXPECT_ERROR("rename of a file over a directory", rename("b", "to"), EISDIR);
    EXPECT_ERROR("rename of a directory over a file", rename("to", "b"), ENOTDIR);
    EXPECT_ERROR("rename into itself", rename("from", "from/below"), EINVAL);
    EXPECT_ERROR("rename of nothing", rename("absent", "c"), ENOENT);
    MUST(link("b", "twin"));
    EXPECT("rename between hard links does nothing", rename("b", "twin") == 0 && exists("b") && exists("twin"));
    put_file("p", "p", 1, 0644);
    EXPECT_ERROR("RENAME_NOREPLACE over a file", renameat2_("p", "b", RENAME_NOREPLACE), EEXIST);
    EXPECT("RENAME_NOREPLACE", renameat2_("p", "q", RENAME_NOREPLACE) == 0 && file_holds("q", "p", 1) && !exists("p"));
    EXPECT("RENAME_EXCHANGE", renameat2_("q", "b", RENAME_EXCHANGE) == 0 && file_holds("b", "p", 1) && file_holds("q", "a", 1));
    EXPECT("RENAME_EXCHANGE of file and directory", renameat2_("q", "from", RENAME_EXCHANGE) == 0 && file_holds("from", "a", 1) && file_holds("q/x", "x", 1));
    EXPECT_ERROR("RENAME_EXCHANGE with nothing", renameat2_("q", "absent", RENAME_EXCHANGE), ENOENT);
    EXPECT("RENAME_WHITEOUT leaves a whiteout", renameat2_("b", "w", RENAME_WHITEOUT) == 0 && file_holds("w", "p", 1) &&
                                                    S_ISCHR(status_of("b").st_mode) && status_of("b").st_rdev == 0);
    EXPECT_ERROR("RENAME_NOREPLACE with RENAME_EXCHANGE", renameat2_("w", "q", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
}

static void kinds_of_names(void)
{
    char longest[256], too_long[257];
    memset(longest, 'n', 255);
    longest[255] = '\0';
    memset(too_long, 'n', 256);
    too_long[256] = '\0';
    put_file(longest, "long", 4, 0644);
    EXPECT("a name of 255 bytes", file_holds(longest, "long", 4));
    EXPECT_ERROR("a name of 256 bytes", open(too_long, O_RDONLY), ENAMETOOLONG);
    const char *odd[] = {"\xff\xfe\x80", "latin-\xe9", " ", "new\nline", "back\\slash", "...", "..x", "-rf", "*?[", "\x01\x7f", "\xe2\x82\xac"};
    int right = 1;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        put_file(odd[i], odd[i], strlen(odd[i]), 0644);
        right = right && file_holds(odd[i], odd[i], strlen(odd[i]));
    }
    EXPECT("names of any bytes", right);
    EXPECT("names that differ in case", mkdir("Case", 0755) == 0 && mkdir("case", 0755) == 0);
    EXPECT("dot is the directory", status_of("Case/.").st_ino == status_of("Case").st_ino);
    EXPECT("dot-dot is the parent", status_of("Case/..").st_ino == status_of(".").st_ino);
    EXPECT_ERROR("mkdir of dot", mkdir("Case/.", 0755), EEXIST);
    EXPECT_ERROR("rmdir of dot", rmdir("Case/."), EINVAL);
    EXPECT_ERROR("rmdir of dot-dot", rmdir("Case/.."), ENOTEMPTY);
    MUST(mkdir("deep", 0755));
    int at = open("deep", O_RDONLY | O_DIRECTORY);
    for (int depth = 0; depth < 300; depth++) {
        MUST(mkdirat(at, "level", 0755));
        int next = openat(at, "level", O_RDONLY | O_DIRECTORY);
        MUST(next);
        MUST(close(at));
        at = next;
    }
    int fd = openat(at, "bottom", O_WRONLY | O_CREAT, 0644);
    EXPECT("300 levels down", fd >= 0 && write(fd, "deep", 4) == 4 && close(fd) == 0);
    char path[300 * 6 + 20] = "deep";
    for (int depth = 0; depth < 300; depth++)
        strcat(path, "/level");
    strcat(path, "/bottom");
    EXPECT("and by path", file_holds(path, "deep", 4));
    close(at);
}

static void negative_entries(void)
{
    EXPECT_ERROR("open of nothing", open("later", O_RDONLY), ENOENT);
    put_file("later", "now", 3, 0644);
    EXPECT("a name that was absent and is made is found", file_holds("later", "now", 3));
    MUST(unlink("later"));
    EXPECT_ERROR("a name that was there and is removed is absent", open("later", O_RDONLY), ENOENT);
    MUST(mkdir("later", 0755));
    EXPECT("a name may come back as another type", S_ISDIR(status_of("later").st_mode));
}

int main(int argc, char **argv)
{
    enter(argc, argv, "names");
    directories();
    nodes();
    links();
    renames();
    kinds_of_names();
    negative_entries();
    return verdict();
}
