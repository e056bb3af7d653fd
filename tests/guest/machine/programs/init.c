/*
 * Process 1 of the test guest: prepares the file systems, loads the modules named in /modules, then runs shell
 * commands for the host over a virtio-serial port until the machine ends.
 *
 * Wire format, both directions: u32 type, u32 id, u32 length (little endian), payload. The host numbers its commands;
 * all frames of a command carry its id. HELLO carries a magic text by which the host finds the stream's beginning again
 * after a reboot cut a frame short.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT_NAME "steadfs.control"
#define HELLO_MAGIC "steadfs guest is listening\n"

enum { TO_GUEST_RUN = 1, TO_GUEST_KILL = 2, TO_GUEST_REBOOT = 3, TO_GUEST_POWEROFF = 4 };
enum { TO_HOST_STDOUT = 1, TO_HOST_STDERR = 2, TO_HOST_EXIT = 3, TO_HOST_HELLO = 4 };

#define COMMANDS_MAX 16            /* concurrent commands; the tests need a handful */
#define SCRIPT_BYTES_MAX (1 << 20) /* a longer script belongs into the image */
#define CHUNK_BYTES 16384

struct frame_header {
    uint32_t type, id, length;
};

struct command {
    pid_t pid; /* 0: slot free */
    uint32_t id;
    int status;
    int exited;
    int streams[2]; /* stdout, stderr read ends; -1 once at end of file */
};

static struct command commands[COMMANDS_MAX];
static int port = -1;

static void die(const char *what)
{
    fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
    sync();
    reboot(RB_POWER_OFF);
    _exit(1);
}

static void write_all(int fd, const void *data, size_t length)
{
    const char *at = data;
    while (length > 0) {
        ssize_t done = write(fd, at, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            die("write to the control port");
        at += done;
        length -= (size_t)done;
    }
}

static void send_frame(uint32_t type, uint32_t id, const void *data, uint32_t length)
{
    struct frame_header header = {type, id, length};
    write_all(port, &header, sizeof header);
    write_all(port, data, length);
}

static void read_all(int fd, void *data, size_t length)
{
    char *at = data;
    while (length > 0) {
        ssize_t done = read(fd, at, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            die("read from the control port");
        if (done == 0) { /* the host has not connected, or has gone: wait for it */
            usleep(10000);
            continue;
        }
        at += done;
        length -= (size_t)done;
    }
}

static void mount_or_die(const char *type, const char *where, const char *options)
{
    mkdir(where, 0755);
    if (mount(type, where, type, 0, options) != 0 && errno != EBUSY)
        die(where);
}

static void load_modules(void)
{
    FILE *list = fopen("/modules", "r");
    char path[512];
    if (list == NULL)
        return;
    while (fgets(path, sizeof path, list) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
            die(path);
        close(fd);
    }
    fclose(list);
}

/* The port's device node, whatever its number; devices appear a moment after their driver. */
static int open_port(void)
{
    for (int attempt = 0; attempt < 1000; attempt++) {
        DIR *ports = opendir("/sys/class/virtio-ports");
        struct dirent *entry;
        while (ports != NULL && (entry = readdir(ports)) != NULL) {
            char path[600], name[64] = "";
            snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd < 0)
                continue;
            ssize_t length = read(fd, name, sizeof name - 1);
            close(fd);
            if (length > 0 && strncmp(name, PORT_NAME, strlen(PORT_NAME)) == 0) {
                snprintf(path, sizeof path, "/dev/%s", entry->d_name);
                fd = open(path, O_RDWR | O_CLOEXEC);
                if (fd >= 0) {
                    closedir(ports);
                    return fd;
                }
            }
        }
        if (ports != NULL)
            closedir(ports);
        usleep(10000);
    }
    die("no control port " PORT_NAME);
    return -1;
}

static void start_command(uint32_t id, const char *script)
{
    int out[2], err[2];
    struct command *slot = NULL;
    for (int i = 0; i < COMMANDS_MAX && slot == NULL; i++)
        if (commands[i].pid == 0)
            slot = &commands[i];
    if (slot == NULL || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        die("start a command");
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setsid();
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    *slot = (struct command){.pid = pid, .id = id, .streams = {out[0], err[0]}};
}

static void kill_command(uint32_t id)
{
    for (int i = 0; i < COMMANDS_MAX; i++)
        if (commands[i].pid != 0 && commands[i].id == id)
            kill(-commands[i].pid, SIGKILL);
}

static void reap_children(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (int i = 0; i < COMMANDS_MAX; i++)
            if (commands[i].pid == pid) {
                commands[i].exited = 1;
                commands[i].status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            }
}

static void forward_output(struct command *command, int which)
{
    char chunk[CHUNK_BYTES];
    ssize_t length = read(command->streams[which], chunk, sizeof chunk);
    if (length > 0) {
        send_frame(which == 0 ? TO_HOST_STDOUT : TO_HOST_STDERR, command->id, chunk, (uint32_t)length);
    } else if (length == 0 || errno != EINTR) {
        close(command->streams[which]);
        command->streams[which] = -1;
    }
}

/* The exit goes out after the last output: a command is over when it ended and both its streams did. */
static void report_finished(void)
{
    for (int i = 0; i < COMMANDS_MAX; i++) {
        struct command *command = &commands[i];
        if (command->pid != 0 && command->exited && command->streams[0] < 0 && command->streams[1] < 0) {
            uint32_t status = (uint32_t)command->status;
            send_frame(TO_HOST_EXIT, command->id, &status, sizeof status);
            command->pid = 0;
        }
    }
}

static void handle_frame(void)
{
    struct frame_header header;
    read_all(port, &header, sizeof header);
    if (header.length > SCRIPT_BYTES_MAX)
        die("oversized frame");
    char *payload = calloc(1, header.length + 1);
    if (payload == NULL)
        die("calloc");
    read_all(port, payload, header.length);
    switch (header.type) {
    case TO_GUEST_RUN:
        start_command(header.id, payload);
        break;
    case TO_GUEST_KILL:
        kill_command(header.id);
        break;
    case TO_GUEST_REBOOT:
        reboot(RB_AUTOBOOT);
        break;
    case TO_GUEST_POWEROFF:
        reboot(RB_POWER_OFF);
        break;
    }
    free(payload);
}

static void serve(int signals)
{
    for (;;) {
        struct pollfd fds[2 + 2 * COMMANDS_MAX] = {
            {.fd = port, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        for (int i = 0; i < COMMANDS_MAX; i++)
            for (int which = 0; which < 2; which++)
                fds[2 + 2 * i + which] =
                    (struct pollfd){.fd = commands[i].pid ? commands[i].streams[which] : -1, .events = POLLIN};
        if (poll(fds, 2 + 2 * COMMANDS_MAX, -1) < 0)
            continue;
        for (int i = 0; i < COMMANDS_MAX; i++)
            for (int which = 0; which < 2; which++)
                if (fds[2 + 2 * i + which].revents != 0)
                    forward_output(&commands[i], which);
        if (fds[1].revents != 0) {
            struct signalfd_siginfo info;
            if (read(signals, &info, sizeof info) > 0)
                reap_children();
        }
        report_finished();
        if (fds[0].revents & POLLIN)
            handle_frame();
        else if (fds[0].revents & POLLHUP)
            usleep(10000);
    }
}

int main(void)
{
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    mount_or_die("devtmpfs", "/dev", "mode=0755");
    mount_or_die("proc", "/proc", "");
    mount_or_die("sysfs", "/sys", "");
    mount_or_die("tmpfs", "/tmp", "mode=1777");
    mkdir("/dev/shm", 01777);
    mount_or_die("tmpfs", "/dev/shm", "mode=1777");
    load_modules();
    setenv("PATH", "/bin:/usr/bin", 1);
    setenv("HOME", "/", 1);
    umask(022);
    int signals = signalfd(-1, &chld, SFD_CLOEXEC);
    if (signals < 0)
        die("signalfd");
    port = open_port();
    send_frame(TO_HOST_HELLO, 0, HELLO_MAGIC, sizeof HELLO_MAGIC - 1);
    serve(signals);
}
