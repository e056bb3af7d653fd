/* IOCTL: inode flags (chattr) and fsxattr. */
#include "check.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

static void inode_flags(const char *path, int fd)
{
    char name[128];
    unsigned int before = 0, after = 0;
    snprintf(name, sizeof name, "FS_IOC_GETFLAGS of a %s", path);
    if (ioctl(fd, FS_IOC_GETFLAGS, &before) != 0) {
        report(0, name, "%s", strerror(errno));
        return;
    }
    report(1, name, "");
    unsigned int wanted = before | FS_NOATIME_FL | FS_NODUMP_FL;
    snprintf(name, sizeof name, "FS_IOC_SETFLAGS of a %s", path);
    EXPECT(name, ioctl(fd, FS_IOC_SETFLAGS, &wanted) == 0 && ioctl(fd, FS_IOC_GETFLAGS, &after) == 0 && (after & FS_NOATIME_FL) && (after & FS_NODUMP_FL));
    snprintf(name, sizeof name, "FS_IOC_SETFLAGS back of a %s", path);
    EXPECT(name, ioctl(fd, FS_IOC_SETFLAGS, &before) == 0 && ioctl(fd, FS_IOC_GETFLAGS, &after) == 0 && after == before);
}

static void extended_flags(const char *path, int fd)
{
    char name[128];
    struct fsxattr attributes;
    memset(&attributes, 0, sizeof attributes);
    snprintf(name, sizeof name, "FS_IOC_FSGETXATTR of a %s", path);
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) {
        report(0, name, "%s", strerror(errno));
        return;
    }
    report(1, name, "");
    attributes.fsx_xflags |= FS_XFLAG_NODUMP;
    snprintf(name, sizeof name, "FS_IOC_FSSETXATTR of a %s", path);
    struct fsxattr after;
    EXPECT(name, ioctl(fd, FS_IOC_FSSETXATTR, &attributes) == 0 && ioctl(fd, FS_IOC_FSGETXATTR, &after) == 0 && (after.fsx_xflags & FS_XFLAG_NODUMP));
}

int main(int argc, char **argv)
{
    enter(argc, argv, "ioctls");
    put_file("file", "immutable?", 10, 0644);
    MUST(mkdir("directory", 0755));
    int file = open("file", O_RDWR), directory = open("directory", O_RDONLY | O_DIRECTORY);
    MUST(file);
    MUST(directory);
    inode_flags("file", file);
    inode_flags("directory", directory);
    extended_flags("file", file);
    unsigned int flags = 0;
    EXPECT_ERROR("an ioctl for terminals", ioctl(file, 0x5401 /* TCGETS */, &flags), ENOTTY);
    close(file);
    close(directory);
    return verdict();
}
