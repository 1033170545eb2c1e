/* SPDX-License-Identifier: MIT */
/* JSON as text: checked strictly, and positions in it. cJSON, which makes the values, keeps no positions and
 * lets leading zeros, control characters, invalid UTF-8 and unpaired surrogates pass. */
#ifndef JSON_TEXT_H
#define JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bug.h"

/* No configuration nests deeper than 5. The limit protects the stack. */
#define JSON_DEPTH_MAX 16

/* Is it one JSON value (RFC 8259), and nothing else? Stricter than the RFC in one point: strings hold no
 * control characters, not even escaped. Returns true, or false with the offset of the mistake and a
 * static text that says what it is. */
bool json_check(const char *text, size_t size, size_t *reterr_at,
		const char **reterr_why) MUST_CHECK;

/* Where a value stands [bytes from the start of the text]. */
struct json_span {
	size_t key;   /* where its key begins; the value itself if it has none */
	size_t value; /* where the value begins */
	size_t size;  /* of the value */
};

/* Walk down: into the steps[0]-th member or element of the outermost value, from there into the
 * steps[1]-th and so on. The text has passed json_check() and has what is asked for. */
struct json_span json_locate(const char *text, size_t size, const size_t *steps, size_t count);

/* Of the offset @at: both from 1; a column is a character, not a byte. */
void json_line_column(const char *text, size_t at, unsigned *retline, unsigned *retcolumn);

#endif
