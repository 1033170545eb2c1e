/* SPDX-License-Identifier: MIT */
/* A cursor over bytes from the wire. Its error sticks: read a whole structure, then ask once. */
#ifndef READER_H
#define READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
	const uint8_t *at; /* borrowed */
	size_t left;       /* [bytes] */
	bool failed;       /* something was asked for that is not there */
};

static inline void reader_init(struct reader *r, const uint8_t *data, size_t size)
{
	*r = (struct reader){ .at = data, .left = size };
}

/* The next @size bytes in place, or NULL. @size is the peer's: it is compared, never added to. */
static inline const uint8_t *reader_take(struct reader *r, size_t size)
{
	const uint8_t *taken = r->at;

	if (r->failed || size > r->left) {
		r->failed = true;
		return NULL;
	}
	r->at += size;
	r->left -= size;
	return taken;
}

/* Numbers are big-endian, and 0 after a failure. */
static inline uint8_t reader_u8(struct reader *r)
{
	const uint8_t *b = reader_take(r, 1);

	return b != NULL ? b[0] : 0;
}

static inline uint16_t reader_u16(struct reader *r)
{
	const uint8_t *b = reader_take(r, 2);

	return b != NULL ? (uint16_t)(b[0] << 8 | b[1]) : 0;
}

static inline uint32_t reader_u32(struct reader *r)
{
	uint32_t high = reader_u16(r);

	return high << 16 | reader_u16(r);
}

#endif
