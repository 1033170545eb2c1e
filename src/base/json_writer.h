/* SPDX-License-Identifier: MIT */
/* JSON (RFC 8259) on one line into a strbuf, without allocating: for log lines and `unproxy parse`.
 *
 * Whatever the bytes, the output is valid UTF-8 JSON as long as the strbuf was not cut: control
 * characters are escaped, bytes that are not UTF-8 become U+FFFD.
 * Keys are ours, thus plain ASCII; a NULL key is an element of an array. */
#ifndef JSON_WRITER_H
#define JSON_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

struct json_writer {
	struct strbuf *out; /* borrowed */
	bool comma;         /* something stands before us in this object or array */
};

void json_writer_init(struct json_writer *w, struct strbuf *out);

void json_writer_open(struct json_writer *w, const char *key, char bracket /* '{' or '[' */);
void json_writer_close(struct json_writer *w, char bracket /* '}' or ']' */);
void json_writer_text(struct json_writer *w, const char *key, const char *text);
void json_writer_bytes(struct json_writer *w, const char *key, const void *bytes, size_t size);
void json_writer_hex(struct json_writer *w, const char *key, const void *bytes, size_t size);
void json_writer_uint(struct json_writer *w, const char *key, uint64_t value);
void json_writer_bool(struct json_writer *w, const char *key, bool value);
void json_writer_null(struct json_writer *w, const char *key);

/* Nanoseconds as milliseconds with three decimals: 1.250 */
void json_writer_ms(struct json_writer *w, const char *key, uint64_t ns);

#endif
