/* SPDX-License-Identifier: Apache-2.0
 * BLAKE2b without a key (RFC 7693): the same as hashlib.blake2b(digest_size=n), n up to 32.
 */
#ifndef STEADFS_BLAKE2B_H
#define STEADFS_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

#define BLAKE2B_BLOCK_BYTES 128u
/* cdef begin */
#define BLAKE2B_DIGEST_BYTES 32u
/* cdef end */

struct blake2b {
    uint64_t h[8];
    uint64_t counted; /* bytes compressed so far; 2^64 of them are more than a journal can hold */
    uint32_t filled;
    uint32_t digest_bytes;
    uint8_t block[BLAKE2B_BLOCK_BYTES];
};

void blake2b_begin(struct blake2b *b, uint32_t digest_bytes);
void blake2b_add(struct blake2b *b, const void *from, size_t bytes);
/* Writes digest_bytes. */
void blake2b_end(struct blake2b *b, uint8_t *digest);

#endif
