/* SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR. */
#include "check.h"

#include <sys/xattr.h>

static int lists(const char *path, const char *name)
{
    char names[4096];
    ssize_t length = listxattr(path, names, sizeof names);
    for (char *at = names; length > 0 && at < names + length; at += strlen(at) + 1)
        if (strcmp(at, name) == 0)
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    char value[4096], big[2000];
    enter(argc, argv, "xattrs");
    put_file("f", "data", 4, 0644);
    memset(big, 'b', sizeof big);
    if (setxattr("f", "user.probe", "", 0, 0) != 0 && errno == EOPNOTSUPP) {
        skip("extended attributes", "the file system has none");
        return verdict();
    }
    EXPECT("setxattr of an empty value", getxattr("f", "user.probe", value, sizeof value) == 0);
    EXPECT("setxattr", setxattr("f", "user.one", "first", 5, 0) == 0);
    EXPECT("getxattr", getxattr("f", "user.one", value, sizeof value) == 5 && memcmp(value, "first", 5) == 0);
    EXPECT("getxattr tells the size", getxattr("f", "user.one", NULL, 0) == 5);
    EXPECT_ERROR("getxattr into too little room", getxattr("f", "user.one", value, 2), ERANGE);
    EXPECT_ERROR("XATTR_CREATE over a name", setxattr("f", "user.one", "x", 1, XATTR_CREATE), EEXIST);
    EXPECT("XATTR_REPLACE", setxattr("f", "user.one", "second", 6, XATTR_REPLACE) == 0 && getxattr("f", "user.one", value, sizeof value) == 6);
    EXPECT_ERROR("XATTR_REPLACE of nothing", setxattr("f", "user.two", "x", 1, XATTR_REPLACE), ENODATA);
    EXPECT("XATTR_CREATE", setxattr("f", "user.two", "\0\xff", 2, XATTR_CREATE) == 0 && getxattr("f", "user.two", value, sizeof value) == 2);
    EXPECT("listxattr", lists("f", "user.one") && lists("f", "user.two") && lists("f", "user.probe") && !lists("f", "user.three"));
    ssize_t size = listxattr("f", NULL, 0);
    EXPECT("listxattr tells the size", size > 0 && listxattr("f", value, (size_t)size) == size);
    EXPECT_ERROR("listxattr into too little room", listxattr("f", value, 3), ERANGE);
    EXPECT("a value of 2000 bytes", setxattr("f", "user.big", big, sizeof big, 0) == 0 &&
                                        getxattr("f", "user.big", value, sizeof value) == sizeof big && memcmp(value, big, sizeof big) == 0);
    EXPECT("removexattr", removexattr("f", "user.big") == 0 && !lists("f", "user.big"));
    EXPECT_ERROR("removexattr of nothing", removexattr("f", "user.big"), ENODATA);
    EXPECT_ERROR("getxattr of nothing", getxattr("f", "user.big", value, sizeof value), ENODATA);
    MUST(mkdir("d", 0755));
    EXPECT("attributes of a directory", setxattr("d", "user.dir", "D", 1, 0) == 0 && getxattr("d", "user.dir", value, sizeof value) == 1);
    int fd = open("f", O_RDWR);
    EXPECT("fsetxattr and fgetxattr", fsetxattr(fd, "user.fd", "FD", 2, 0) == 0 && fgetxattr(fd, "user.fd", value, sizeof value) == 2);
    EXPECT("flistxattr and fremovexattr", flistxattr(fd, value, sizeof value) > 0 && fremovexattr(fd, "user.fd") == 0 && !lists("f", "user.fd"));
    close(fd);
    MUST(symlink("f", "l"));
    EXPECT_ERROR("user attributes of a symbolic link", lsetxattr("l", "user.x", "x", 1, 0), EPERM);
    EXPECT("attributes through a symbolic link", setxattr("l", "user.through", "t", 1, 0) == 0 && lists("f", "user.through"));
    EXPECT_ERROR("an unknown namespace", setxattr("f", "nonsense.x", "x", 1, 0), EOPNOTSUPP);
    EXPECT("content is untouched", file_holds("f", "data", 4));
    return verdict();
}
