/* SPDX-License-Identifier: MIT */
/* SipHash-2-4 (Aumasson and Bernstein, 2012): a hash for tables whose keys others choose. Who does not know the secret
 * cannot make keys collide. */
#ifndef SIPHASH_H
#define SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_SIZE 16 /* [bytes] */

uint64_t siphash(const uint8_t key[static SIPHASH_KEY_SIZE], const void *data, size_t size);

#endif
