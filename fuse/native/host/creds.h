/* SPDX-License-Identifier: Apache-2.0
 *
 * The calling thread's credentials. All by raw per-thread system calls: glibc's wrappers would change every thread.
 *
 * fsuid and fsgid decide permission checks and the owner of new files; leaving 0 the kernel takes the file-system
 * capabilities (CHOWN, DAC_*, FOWNER, FSETID, MKNOD, ...) out of the effective set, coming back to 0 it restores
 * those that are permitted (capabilities(7), "Effect of user ID changes on capabilities").
 */
#ifndef STEADFS_CREDS_H
#define STEADFS_CREDS_H

#include <stdint.h>

/* Of the caller's capabilities, what a request by uid != 0 keeps. */
enum act_keep {
    ACT_KEEP_NONE = 0, /* the guest told the group that matters (FUSE_CREATE_SUPP_GROUP) */
    /* CAP_DAC_OVERRIDE: the guest checked the permission, with supplementary groups that we don't know. */
    ACT_KEEP_DAC = 1
};

#define ACT_NO_GROUP (-1)  /* no supplementary group */
#define ACT_SAME_UMASK (-1) /* the umask stays */

/* cdef begin */
/* The thread acts as uid, gid and one supplementary group until act_as_daemon. 0, or -EPERM and the daemon's
 * credentials again. The first call with a umask gives the thread a file-system context of its own. */
int act_as(uint32_t uid, uint32_t gid, int64_t group, int32_t umask_bits, int keep);
/* Never fails: where the kernel refuses to give the daemon's credentials back the process aborts. */
void act_as_daemon(void);

/* Between the two a write to or a truncation of fd (O_PATH suffices) by this thread clears set-id bits as it would for a
 * caller without CAP_FSETID: set-uid, and set-gid where the group may execute (fuse.h, FUSE_HANDLE_KILLPRIV_V2). Does
 * nothing for a file that has neither. Not between act_as and act_as_daemon. 0 or -errno. */
int killpriv_begin(int fd);
void killpriv_end(void);

/* A bit mask of capabilities that are effective in this thread, or 0 when the kernel doesn't tell. */
uint64_t caps_effective(void);
/* cdef end */

#endif
