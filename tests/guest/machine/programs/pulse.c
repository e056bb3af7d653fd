/*
 * An application that notices: DIRECTORY gets a file to which a line is written with O_SYNC, then DIRECTORY is listed, again and again.
 * Every INTERVAL_MS one line: "pulse ROUNDS WORST_MS ERRORS ERRNO" (rounds so far, longest single call since the last line, failed
 * calls so far, errno of the last of them). Ends when /tmp/stop exists. Exit status: 1 if a call failed.
 */
#include "check.h"

#include <dirent.h>
#include <time.h>

static long rounds, errors;
static int last_error;
static double worst_ms;

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Called around each system call that goes to the daemon. */
static void note(double begun_ms, int failed)
{
    double took_ms = now_ms() - begun_ms;
    if (failed) {
        last_error = errno;
        errors++;
    }
    if (took_ms > worst_ms)
        worst_ms = took_ms;
}

static void write_a_line(const char *path)
{
    char line[32];
    int length = snprintf(line, sizeof line, "%ld\n", rounds);
    double begun = now_ms();
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_SYNC | O_CLOEXEC, 0644);
    note(begun, fd < 0);
    if (fd < 0)
        return;
    begun = now_ms();
    note(begun, write(fd, line, (size_t)length) != length);
    begun = now_ms();
    note(begun, close(fd) != 0);
}

static void list(const char *directory)
{
    double begun = now_ms();
    DIR *stream = opendir(directory);
    note(begun, stream == NULL);
    if (stream == NULL)
        return;
    errno = 0;
    begun = now_ms();
    while (readdir(stream) != NULL)
        ;
    note(begun, errno != 0);
    closedir(stream);
}

int main(int argc, char **argv)
{
    char path[PATH_MAX];
    if (argc != 4) {
        fprintf(stderr, "usage: %s DIRECTORY FILE INTERVAL_MS\n", argv[0]);
        return 2;
    }
    snprintf(path, sizeof path, "%s/%s", argv[1], argv[2]);
    long interval_ms = atol(argv[3]);
    double say_at = now_ms() + (double)interval_ms;
    while (!exists("/tmp/stop")) {
        rounds++;
        write_a_line(path);
        list(argv[1]);
        if (now_ms() >= say_at) {
            printf("pulse %ld %.1f %ld %d\n", rounds, worst_ms, errors, last_error);
            fflush(stdout);
            worst_ms = 0;
            say_at = now_ms() + (double)interval_ms;
        }
    }
    printf("pulse %ld %.1f %ld %d\n", rounds, worst_ms, errors, last_error);
    return errors != 0;
}
