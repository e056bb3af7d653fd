/* SPDX-License-Identifier: Apache-2.0
 * With --seccomp=trap a system call that the filter refuses is a SIGSYS. The handler says on standard error which one it was,
 * in the way of signal-safety(7), and has the process die of a SIGSYS all the same.
 */
#ifndef STEADFS_SIGSYS_H
#define STEADFS_SIGSYS_H

#include <stdint.h>

/* cdef begin */
/* From now on, in all threads. Negative errno or 0. */
int32_t sigsys_tell(void);
/* cdef end */

#endif
