/* SPDX-License-Identifier: MIT */
/* A cursor over memory to be filled. Its error sticks: write a whole structure, then ask once. */
#ifndef WRITER_H
#define WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct writer {
	uint8_t *start; /* the caller's */
	size_t used;    /* [bytes] */
	size_t size;    /* of the memory [bytes] */
	bool failed;    /* something did not fit */
};

static inline void writer_init(struct writer *w, uint8_t *start, size_t size)
{
	*w = (struct writer){ .start = start, .size = size };
}

static inline void writer_bytes(struct writer *w, const void *bytes, size_t size)
{
	if (w->failed || size > w->size - w->used) {
		w->failed = true;
		return;
	}
	if (size > 0) /* @bytes may be NULL then */
		memcpy(w->start + w->used, bytes, size);
	w->used += size;
}

/* Numbers are big-endian. */
static inline void writer_u8(struct writer *w, uint8_t value)
{
	writer_bytes(w, &value, 1);
}

static inline void writer_u16(struct writer *w, uint16_t value)
{
	const uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)value };

	writer_bytes(w, bytes, sizeof bytes);
}

#endif
