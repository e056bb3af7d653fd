/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse/native/host/creds.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define GROUPS_MAX 65536 /* NGROUPS_MAX of Linux, what the daemon itself may have been started with */

struct caps {
    struct __user_cap_data_struct word[2];
};

/* What the thread is now; all zero before it first acts for someone. */
static _Thread_local struct {
    bool known;     /* the daemon's own ids below were read */
    bool acting;    /* fsuid, fsgid or caps differ from the daemon's */
    bool groups;    /* the supplementary groups differ from the daemon's */
    bool own_fs;    /* unshare(CLONE_FS) done: umask is this thread's */
    uint32_t umask; /* valid with own_fs */
    uint32_t uid;
    uint32_t gid;
    int groups_n;
    gid_t *group_list; /* the daemon's, read once per thread; lives as long as the thread */
} me;

static int caps_get(struct caps *c)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &head, c->word) < 0 ? -errno : 0;
}

static int caps_set(const struct caps *c)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capset, &head, c->word) < 0 ? -errno : 0;
}

uint64_t caps_effective(void)
{
    struct caps c;
    return caps_get(&c) < 0 ? 0 : c.word[0].effective | (uint64_t)c.word[1].effective << 32;
}

static int know_myself(void)
{
    if (me.known)
        return 0;
    /* An invalid id changes nothing and gives the present one (setfsuid(2)). */
    me.uid = (uint32_t)syscall(SYS_setfsuid, -1);
    me.gid = (uint32_t)syscall(SYS_setfsgid, -1);
    int n = (int)syscall(SYS_getgroups, 0, NULL);
    if (n < 0 || n > GROUPS_MAX)
        return -EPERM;
    if (n > 0) {
        me.group_list = malloc((size_t)n * sizeof *me.group_list);
        if (me.group_list == NULL)
            return -ENOMEM;
        n = (int)syscall(SYS_getgroups, n, me.group_list);
    }
    me.groups_n = n;
    me.known = n >= 0;
    return n < 0 ? -EPERM : 0;
}

static int use_umask(uint32_t bits)
{
    if (!me.own_fs) {
        if (unshare(CLONE_FS) < 0)
            return -errno;
        me.own_fs = true;
        me.umask = ~0u;
    }
    if (me.umask != bits)
        umask(bits);
    me.umask = bits;
    return 0;
}

static bool become(uint32_t uid, uint32_t gid)
{
    /* The group first: it needs the capability that leaving uid 0 may cost. */
    syscall(SYS_setfsgid, gid);
    syscall(SYS_setfsuid, uid);
    return (uint32_t)syscall(SYS_setfsgid, -1) == gid && (uint32_t)syscall(SYS_setfsuid, -1) == uid;
}

static int keep_dac(void)
{
    struct caps c;
    int rc = caps_get(&c);
    if (rc < 0)
        return rc;
    c.word[0].effective |= c.word[0].permitted & (1u << CAP_DAC_OVERRIDE);
    return caps_set(&c);
}

static int use_group(int64_t group)
{
    gid_t one = (gid_t)group;
    int n = group == ACT_NO_GROUP ? 0 : 1;
    if (n == 0 && me.groups_n == 0 && !me.groups)
        return 0;
    if (syscall(SYS_setgroups, n, &one) < 0)
        return -errno;
    me.groups = true;
    return 0;
}

int act_as(uint32_t uid, uint32_t gid, int64_t group, int32_t umask_bits, int keep)
{
    int rc = know_myself();
    if (rc < 0)
        return rc;
    if (umask_bits != ACT_SAME_UMASK && (rc = use_umask((uint32_t)umask_bits & 0777)) < 0)
        return rc;
    if (uid == me.uid && gid == me.gid && group == ACT_NO_GROUP) {
        if (me.acting || me.groups)
            act_as_daemon();
        return 0;
    }
    if (me.acting)
        act_as_daemon();
    me.acting = true;
    rc = use_group(group);
    if (rc == 0 && !become(uid, gid))
        rc = -EPERM;
    if (rc == 0 && uid != me.uid && keep == ACT_KEEP_DAC)
        rc = keep_dac();
    if (rc < 0)
        act_as_daemon();
    return rc;
}

void act_as_daemon(void)
{
    if (!me.acting && !me.groups)
        return;
    /* Going on as somebody else, or with his groups, would be worse than a crash, which the keeper mends. */
    if (!become(me.uid, me.gid))
        abort();
    if (me.groups && syscall(SYS_setgroups, me.groups_n, me.group_list) < 0)
        abort();
    me.groups = false;
    me.acting = false;
}

static int fsetid_effective(bool on)
{
    struct caps c;
    int rc = caps_get(&c);
    if (rc < 0)
        return rc;
    uint32_t bit = 1u << CAP_FSETID;
    if ((c.word[0].permitted & bit) == 0)
        return 0; /* we never have it: the kernel clears set-id bits anyway */
    c.word[0].effective = on ? c.word[0].effective | bit : c.word[0].effective & ~bit;
    return caps_set(&c);
}

static _Thread_local bool killing;

int killpriv_begin(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    bool set_gid = (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
    if ((st.st_mode & S_ISUID) == 0 && !set_gid)
        return 0;
    int rc = fsetid_effective(false);
    if (rc < 0)
        return rc;
    /* As a member of the file's group: only then does the kernel leave a set-gid bit without group execution alone. */
    syscall(SYS_setfsgid, st.st_gid);
    killing = true;
    return 0;
}

void killpriv_end(void)
{
    if (!killing)
        return;
    killing = false;
    syscall(SYS_setfsgid, getegid());
    (void)fsetid_effective(true);
}
