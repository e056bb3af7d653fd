/* OPENDIR, READDIR, READDIRPLUS, RELEASEDIR: big directories, positions, changes while reading. */
#include "check.h"

#include <dirent.h>

enum { ENTRIES = 1000 }; /* a dozen READDIR replies; TCG and a busy host make each entry cost milliseconds */

static int number_of(const char *name)
{
    int number = -1;
    return sscanf(name, "entry-%d-", &number) == 1 && number >= 0 && number < ENTRIES ? number : -1;
}

static void make_entries(void)
{
    char name[128];
    MUST(mkdir("big", 0755));
    MUST(chdir("big"));
    for (int i = 0; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "entry-%d-%.*s", i, i % 60, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghij");
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        MUST(fd);
        MUST(close(fd));
    }
    MUST(chdir(".."));
}

static int count_all(DIR *dir, int *doubles, int *dots)
{
    static char seen[ENTRIES];
    memset(seen, 0, sizeof seen);
    int count = 0;
    struct dirent *entry;
    *doubles = *dots = 0;
    while ((entry = readdir(dir)) != NULL) {
        int number = number_of(entry->d_name);
        if (number < 0) {
            *dots += strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
            continue;
        }
        *doubles += seen[number];
        seen[number] = 1;
        count++;
    }
    return count;
}

static void reading(void)
{
    int doubles, dots;
    DIR *dir = opendir("big");
    EXPECT("every entry is read once", count_all(dir, &doubles, &dots) == ENTRIES && doubles == 0);
    EXPECT("dot and dot-dot are there", dots == 2);
    rewinddir(dir);
    EXPECT("rewinddir", count_all(dir, &doubles, &dots) == ENTRIES && doubles == 0);
    rewinddir(dir);
    long positions[ENTRIES + 2];
    static char names[ENTRIES + 2][NAME_MAX + 1];
    int count = 0;
    for (;;) {
        long position = telldir(dir);
        struct dirent *entry = readdir(dir);
        if (entry == NULL || count == ENTRIES + 2)
            break;
        positions[count] = position;
        strcpy(names[count++], entry->d_name);
    }
    int right = count == ENTRIES + 2;
    for (int i = 0; i < 50 && right; i++) {
        int at = (i * 7919) % count;
        seekdir(dir, positions[at]);
        struct dirent *entry = readdir(dir);
        right = entry != NULL && strcmp(entry->d_name, names[at]) == 0;
    }
    EXPECT("seekdir to 50 remembered positions", right);
    closedir(dir);
}

static void types(void)
{
    MUST(mkdir("kinds", 0755));
    MUST(mkdir("kinds/d", 0755));
    put_file("kinds/f", "", 0, 0644);
    MUST(symlink("x", "kinds/l"));
    MUST(mkfifo("kinds/p", 0644));
    DIR *dir = opendir("kinds");
    struct dirent *entry;
    int right = 0;
    while ((entry = readdir(dir)) != NULL) {
        unsigned char want = entry->d_name[0] == 'd' || entry->d_name[0] == '.' ? DT_DIR : entry->d_name[0] == 'f' ? DT_REG : entry->d_name[0] == 'l' ? DT_LNK : DT_FIFO;
        right += entry->d_type == want || entry->d_type == DT_UNKNOWN;
        if (entry->d_name[0] != '.')
            right += entry->d_ino == status_of((char[]){'k', 'i', 'n', 'd', 's', '/', entry->d_name[0], 0}).st_ino;
    }
    EXPECT("entries tell type and inode", right == 6 + 4);
    closedir(dir);
    MUST(mkdir("empty", 0755));
    dir = opendir("empty");
    int dots = 0;
    while ((entry = readdir(dir)) != NULL)
        dots += entry->d_name[0] == '.';
    EXPECT("an empty directory holds dot and dot-dot", dots == 2);
    put_file("empty/late", "", 0, 0644);
    rewinddir(dir);
    int late = 0;
    while ((entry = readdir(dir)) != NULL)
        late += strcmp(entry->d_name, "late") == 0;
    EXPECT("rewinddir shows a new entry", late == 1);
    closedir(dir);
}

static void removing_while_reading(void)
{
    int removed = 0;
    DIR *dir = opendir("big");
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        if (number_of(entry->d_name) >= 0)
            removed += unlinkat(dirfd(dir), entry->d_name, 0) == 0;
    closedir(dir);
    EXPECT("removing while reading reaches every entry", removed == ENTRIES);
    EXPECT("and the directory is empty then", rmdir("big") == 0);
    EXPECT_ERROR("opendir of nothing", open("big", O_RDONLY | O_DIRECTORY), ENOENT);
}

int main(int argc, char **argv)
{
    enter(argc, argv, "directories");
    make_entries();
    reading();
    types();
    removing_while_reading();
    return verdict();
}
