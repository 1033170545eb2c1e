/* SPDX-License-Identifier: MIT */
/* CRC32C (Castagnoli; RFC 3720 appendix B.4), as the PROXY protocol's PP2_TYPE_CRC32C uses it. */
#ifndef CRC32C_H
#define CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Start with 0; feed the result of one piece to the next. Uses the SSE4.2 instruction where
 * the CPU has it. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The two ways, for tests and the benchmark. _sse42 may be called only if _has_sse42() says so. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t size);
uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t size);
bool crc32c_has_sse42(void);

#endif
