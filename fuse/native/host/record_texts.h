/* SPDX-License-Identifier: Apache-2.0
 *
 * The texts of transitions and records, which the interpreter makes of the rows of specs/tables.py (fuse/host/record_texts.py): no state
 * and no event is spelt in C.
 */
#ifndef STEADFS_RECORD_TEXTS_H
#define STEADFS_RECORD_TEXTS_H

#define RECORD_TEXT_BYTES 192u
#define STATE_END_BYTES 64u

enum record_kind {
    RECORD_FIRST_ENTRY,
    RECORD_ENTRY_AGAIN,
    RECORD_LAST_NAME_GONE,
    RECORD_SOME_FORGOTTEN,
    RECORD_ALL_FORGOTTEN,
    RECORD_FILE_OPENED,
    RECORD_DIRECTORY_OPENED,
    RECORD_FILE_RELEASED,
    RECORD_DIRECTORY_RELEASED,
    RECORD_MOUNT_MET,
    RECORD_MOUNT_LEFT,
    RECORD_SERVED,
    RECORD_KINDS
};

/* cdef begin */
struct record_texts {
    /* Up to the comma before the reply. %k: the key; %r: the request; %n: a number; %t: a text; %e: the operation's name. */
    char transitions[RECORD_KINDS][RECORD_TEXT_BYTES];
    /* How records end. */
    char inode_end[STATE_END_BYTES];
    char file_end[STATE_END_BYTES];
    char directory_end[STATE_END_BYTES];
};
/* cdef end */

#endif
