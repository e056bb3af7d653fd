/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STEADFS_CRASH_POINTS_H
#define STEADFS_CRASH_POINTS_H

#include "specs/native/crash_point.h"

/* Shares the page at `path` with the test; 0 or -1. No descriptor stays open: the daemon closes those it doesn't know. */
int crash_points_map(const char *path);
/* While on, points of this process are none. */
void crash_points_silence(int on);
/* While on, points of this process are none. */
void crash_points_silence(int on);

#endif
