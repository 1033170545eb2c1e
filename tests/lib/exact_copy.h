/* SPDX-License-Identifier: MIT */
#ifndef EXACT_COPY_H
#define EXACT_COPY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* @size bytes on the heap and not one more, so that ASan sees an overread. The caller frees. */
static inline uint8_t *exact_copy(const void *bytes, size_t size)
{
	uint8_t *copy = malloc(size);

	if (size > 0)
		memcpy(copy, bytes, size);
	return copy;
}

#endif
