/* SPDX-License-Identifier: Apache-2.0
 * A file that is truncated after it was mapped makes its pages fault with SIGBUS. System calls on such pages return
 * EFAULT; our own copies would die. Policy: the first guarded mapping installs a SIGBUS handler, which puts a
 * private zero page where a page of a guarded mapping vanished, and lets the copy go on. The guest (or VMM)
 * that took its own memory away reads and writes into the void; nobody else is harmed. A SIGBUS anywhere else is
 * handed to the previous disposition.
 */
#ifndef STEADFS_SIGBUS_H
#define STEADFS_SIGBUS_H

#include <stddef.h>
#include <stdint.h>

/* page_bytes: the file's page size (huge pages are replaced whole). Negative errno or 0. */
int sigbus_guard(void *start, size_t bytes, size_t page_bytes);
void sigbus_unguard(void *start);

#endif
