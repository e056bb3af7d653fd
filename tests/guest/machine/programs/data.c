/* OPEN, CREATE, READ, WRITE, FSYNC, FLUSH, FALLOCATE, LSEEK, COPY_FILE_RANGE, SYNCFS, mmap: what a file holds. */
#include "check.h"

#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/uio.h>

static char pattern[1 << 20];

static void opening(void)
{
    int fd = open("new", O_RDWR | O_CREAT | O_EXCL, 0640);
    EXPECT("O_CREAT|O_EXCL makes a file", fd >= 0 && status_of("new").st_mode == (S_IFREG | 0640));
    EXPECT_ERROR("O_CREAT|O_EXCL refuses a file", open("new", O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
    EXPECT("write", write(fd, "0123456789", 10) == 10);
    MUST(close(fd));
    fd = open("new", O_RDWR | O_CREAT, 0600);
    EXPECT("O_CREAT opens a file as it is", fd >= 0 && status_of("new").st_size == 10 && status_of("new").st_mode == (S_IFREG | 0640));
    MUST(close(fd));
    fd = open("new", O_WRONLY | O_TRUNC);
    EXPECT("O_TRUNC empties", fd >= 0 && status_of("new").st_size == 0);
    char byte;
    EXPECT_ERROR("read of a descriptor open for writing", read(fd, &byte, 1), EBADF);
    MUST(close(fd));
    fd = open("new", O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT("O_CREAT|O_TRUNC of a file", fd >= 0 && write(fd, "ab", 2) == 2 && status_of("new").st_size == 2);
    MUST(close(fd));
    fd = open("new", O_RDONLY);
    EXPECT_ERROR("write of a descriptor open for reading", write(fd, "x", 1), EBADF);
    MUST(close(fd));
    EXPECT_ERROR("open of nothing", open("absent", O_RDWR), ENOENT);
    MUST(mkdir("dir", 0755));
    EXPECT_ERROR("open of a directory for writing", open("dir", O_WRONLY), EISDIR);
    EXPECT_ERROR("O_CREAT of a directory", open("dir", O_RDWR | O_CREAT, 0644), EISDIR);
    EXPECT_ERROR("O_DIRECTORY of a file", open("new", O_RDONLY | O_DIRECTORY), ENOTDIR);
    fd = open("dir", O_RDONLY);
    EXPECT_ERROR("read of a directory", read(fd, &byte, 1), EISDIR);
    MUST(close(fd));
    fd = open("readonly", O_RDWR | O_CREAT, 0444);
    EXPECT("a file made read-only is written through its first descriptor", fd >= 0 && write(fd, "r", 1) == 1);
    MUST(close(fd));
}

static void reading_and_writing(void)
{
    char back[64] = "";
    int fd = open("rw", O_RDWR | O_CREAT, 0644);
    MUST(fd);
    EXPECT("pwrite", pwrite(fd, "world", 5, 6) == 5 && pwrite(fd, "hello ", 6, 0) == 6);
    EXPECT("pread", pread(fd, back, sizeof back, 0) == 11 && memcmp(back, "hello world", 11) == 0);
    EXPECT("pread beyond the end", pread(fd, back, sizeof back, 100) == 0);
    EXPECT("pwrite beyond the end leaves zeros", pwrite(fd, "!", 1, 9000) == 1 && pread(fd, back, 1, 5000) == 1 && back[0] == 0);
    struct iovec parts[3] = {{"one", 3}, {"", 0}, {"two", 3}};
    EXPECT("pwritev", pwritev(fd, parts, 3, 20000) == 6 && pread(fd, back, 10, 20000) == 6 && memcmp(back, "onetwo", 6) == 0);
    EXPECT("fsync", fsync(fd) == 0);
    EXPECT("fdatasync", fdatasync(fd) == 0);
    EXPECT("syncfs", syncfs(fd) == 0);
    EXPECT("sparse end at 1 TiB", pwrite(fd, "end", 3, 1LL << 40) == 3 && status_of("rw").st_size == (1LL << 40) + 3 &&
                                      pread(fd, back, 3, 1LL << 40) == 3 && memcmp(back, "end", 3) == 0);
    MUST(close(fd));
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    EXPECT("fsync of a directory", fsync(dir) == 0);
    EXPECT("fdatasync of a directory", fdatasync(dir) == 0);
    MUST(close(dir));
    fd = open("big", O_RDWR | O_CREAT, 0644);
    MUST(fd);
    int right = 1;
    for (int i = 0; i < 8; i++)
        right = right && write(fd, pattern, sizeof pattern) == (ssize_t)sizeof pattern;
    EXPECT("write of 8 MiB in pieces of 1 MiB", right && fsync(fd) == 0);
    char *all = malloc(sizeof pattern);
    for (int i = 0; i < 8; i++)
        right = right && pread(fd, all, sizeof pattern, i * (off_t)sizeof pattern) == (ssize_t)sizeof pattern &&
                memcmp(all, pattern, sizeof pattern) == 0;
    MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    EXPECT("read back after leaving the cache", right && pread(fd, all, sizeof pattern, 3 * (off_t)sizeof pattern + 12345) == (ssize_t)sizeof pattern &&
                                                     memcmp(all, pattern + 12345, sizeof pattern - 12345) == 0);
    free(all);
    MUST(close(fd));
}

static void appending(void)
{
    put_file("log", "start\n", 6, 0644);
    int fd = open("log", O_WRONLY | O_APPEND);
    int other = open("log", O_WRONLY | O_APPEND);
    MUST(fd);
    MUST(other);
    EXPECT("append", write(fd, "one\n", 4) == 4 && write(other, "two\n", 4) == 4 && write(fd, "three\n", 6) == 6);
    EXPECT("appends of two descriptors don't overwrite", file_holds("log", "start\none\ntwo\nthree\n", 20));
    EXPECT("lseek does not move an append", lseek(fd, 0, SEEK_SET) == 0 && write(fd, "four\n", 5) == 5 && status_of("log").st_size == 25);
    MUST(truncate("log", 6));
    EXPECT("append after a truncate", write(fd, "five\n", 5) == 5 && file_holds("log", "start\nfive\n", 11));
    EXPECT("O_APPEND taken away by fcntl", fcntl(fd, F_SETFL, 0) == 0 && pwrite(fd, "S", 1, 0) == 1 && file_holds("log", "Start\nfive\n", 11));
    close(fd);
    close(other);
}

static void allocating(void)
{
    int fd = open("alloc", O_RDWR | O_CREAT, 0644);
    MUST(fd);
    struct stat st;
    EXPECT("fallocate grows", fallocate(fd, 0, 0, 65536) == 0 && status_of("alloc").st_size == 65536);
    EXPECT("fallocate allocates blocks", fstat(fd, &st) == 0 && st.st_blocks * 512 >= 65536);
    EXPECT("fallocate keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 65536, 65536) == 0 && status_of("alloc").st_size == 65536);
    EXPECT("write into it", pwrite(fd, pattern, 65536, 0) == 65536 && fsync(fd) == 0);
    char back[16384];
    EXPECT("fallocate punch hole", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 16384, 16384) == 0);
    int zero = pread(fd, back, 16384, 16384) == 16384;
    for (size_t i = 0; i < sizeof back; i++)
        zero = zero && back[i] == 0;
    EXPECT("a hole reads as zeros", zero);
    EXPECT("the bytes beside a hole stay", pread(fd, back, 16384, 32768) == 16384 && memcmp(back, pattern + 32768, 16384) == 0);
    if (fallocate(fd, FALLOC_FL_ZERO_RANGE, 40000, 1000) == 0) {
        EXPECT("fallocate zero range", pread(fd, back, 1001, 40000) == 1001 && back[0] == 0 && back[999] == 0 && back[1000] == pattern[41000]);
    } else if (errno == EOPNOTSUPP) {
        skip("fallocate zero range", "the file system has none");
    } else {
        report(0, "fallocate zero range", "%s", strerror(errno));
    }
    EXPECT_ERROR("fallocate of a negative length", fallocate(fd, 0, 0, -1), EINVAL);
    EXPECT("SEEK_HOLE finds the hole", lseek(fd, 0, SEEK_HOLE) == 16384);
    EXPECT("SEEK_DATA finds the data behind it", lseek(fd, 16384, SEEK_DATA) == 32768);
    EXPECT("SEEK_DATA in data stays", lseek(fd, 100, SEEK_DATA) == 100);
    EXPECT("SEEK_HOLE finds the end", lseek(fd, 60000, SEEK_HOLE) == 65536);
    EXPECT_ERROR("SEEK_DATA beyond the end", lseek(fd, 70000, SEEK_DATA), ENXIO);
    EXPECT("SEEK_END", lseek(fd, -1, SEEK_END) == 65535);
    MUST(close(fd));
    fd = open("alloc", O_RDONLY);
    EXPECT_ERROR("fallocate of a descriptor open for reading", fallocate(fd, 0, 0, 10), EBADF);
    MUST(close(fd));
}

static void copying(void)
{
    put_file("source", pattern, 300000, 0644);
    int in = open("source", O_RDONLY), out = open("copy", O_RDWR | O_CREAT, 0644);
    MUST(in);
    MUST(out);
    loff_t from = 1000, to = 50;
    ssize_t copied = 0;
    while (copied < 200000) {
        ssize_t done = copy_file_range(in, &from, out, &to, (size_t)(200000 - copied), 0);
        if (done <= 0)
            break;
        copied += done;
    }
    char *back = malloc(200000);
    EXPECT("copy_file_range copies all", copied == 200000 && from == 201000 && to == 200050);
    EXPECT("copy_file_range copies right", pread(out, back, 200000, 50) == 200000 && memcmp(back, pattern + 1000, 200000) == 0);
    EXPECT("copy_file_range grows the target", status_of("copy").st_size == 200050);
    from = 300000;
    EXPECT("copy_file_range at the end", copy_file_range(in, &from, out, &to, 10, 0) == 0);
    free(back);
    close(in);
    close(out);
}

static void mapping(void)
{
    put_file("mapped", pattern, 100000, 0644);
    int fd = open("mapped", O_RDWR);
    char *shared = mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT("a shared mapping shows the file", shared != MAP_FAILED && memcmp(shared, pattern, 100000) == 0);
    if (shared == MAP_FAILED)
        return;
    memcpy(shared + 4094, "across", 6);
    EXPECT("msync", msync(shared, 100000, MS_SYNC) == 0);
    char back[6];
    EXPECT("a store is seen by read", pread(fd, back, 6, 4094) == 6 && memcmp(back, "across", 6) == 0);
    EXPECT("a write is seen in the mapping", pwrite(fd, "WRITE", 5, 8190) == 5 && memcmp(shared + 8190, "WRITE", 5) == 0);
    MUST(munmap(shared, 100000));
    char *private = mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    private[0] = (char)~pattern[0];
    EXPECT("a private store stays private", pread(fd, back, 1, 0) == 1 && back[0] == pattern[0]);
    MUST(munmap(private, 100000));
    close(fd);
}

static void direct_io(void)
{
    char *aligned = aligned_alloc(4096, 65536);
    int fd = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0644);
    if (fd < 0 && errno == EINVAL) {
        skip("O_DIRECT", "the file system has none");
        return;
    }
    memcpy(aligned, pattern, 65536);
    EXPECT("O_DIRECT write", fd >= 0 && write(fd, aligned, 65536) == 65536);
    memset(aligned, 0, 65536);
    EXPECT("O_DIRECT read", pread(fd, aligned, 65536, 0) == 65536 && memcmp(aligned, pattern, 65536) == 0);
    close(fd);
    EXPECT("O_DIRECT data seen without it", file_holds("direct", pattern, 65536));
    free(aligned);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char)(1 + (i * 2654435761u >> 13) % 251); /* never zero, no short period */
    enter(argc, argv, "data");
    opening();
    reading_and_writing();
    appending();
    allocating();
    copying();
    mapping();
    direct_io();
    return verdict();
}
