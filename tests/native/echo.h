/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STEADFS_TESTS_ECHO_H
#define STEADFS_TESTS_ECHO_H

#include "specs/native/lane.h"

/* Opcodes; nodeid says how many bytes of head are wanted. Any other opcode is refused with ENOSYS. */
enum { ECHO_DATA = 100, ECHO_BLOCK = 101, ECHO_STATE = 102, ECHO_SILENT = 104 };

struct echo {
    uint64_t classified;
    uint64_t executed;
    int closed; /* while set, ECHO_BLOCK waits */
    uint64_t at_once; /* executed by a thread that serves all queues */
};

struct lane_ops echo_ops(struct echo *echo);
struct lane_ops *echo_shared_ops(void);
struct echo *echo_shared(void);

#endif
