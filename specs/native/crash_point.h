/* SPDX-License-Identifier: Apache-2.0
 * Places where a test may end the process. They are nothing in the extension that is installed; the tests of recovery build
 * another one, with STEADFS_CRASH_POINTS, and bring the function.
 */
#ifndef STEADFS_CRASH_POINT_H
#define STEADFS_CRASH_POINT_H

#ifdef STEADFS_CRASH_POINTS
void crash_point(const char *where);
#define CRASH_POINT(where) crash_point(where)
/* Each change of a slot's phase is written down, so that a test can tell whether the table has it. */
void crash_phase(unsigned int phase, unsigned int event);
#define CRASH_PHASE(phase, event) crash_phase(phase, event)
#else
#define CRASH_POINT(where) ((void)0)
#define CRASH_PHASE(phase, event) ((void)0)
#endif

#endif
