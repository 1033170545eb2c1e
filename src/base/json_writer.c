/* SPDX-License-Identifier: MIT */
#include "base/json_writer.h"

#include <string.h>

#include "base/bug.h"
#include "base/strbuf.h"

static const char hex_digits[] = "0123456789abcdef";

/* How many of @left bytes make up the UTF-8 character at @at (RFC 3629, section 4), 0 if they are none:
 * stray or missing continuation bytes, overlong forms, surrogates, beyond U+10FFFF. */
static size_t utf8_char_size(const uint8_t *at, size_t left)
{
	uint8_t first = at[0];
	uint8_t low = 0x80; /* of the second byte */
	uint8_t high = 0xbf;
	size_t size;

	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	if (first == 0xe0)
		low = 0xa0;
	if (first == 0xed)
		high = 0x9f;
	if (first == 0xf0)
		low = 0x90;
	if (first == 0xf4)
		high = 0x8f;
	if (size > left || at[1] < low || at[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

static bool stands_for_itself(uint8_t c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_escape(struct strbuf *out, uint8_t c)
{
	static const char shorts[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
				       ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\' };
	char text[] = "\\u00xx";

	if (c < sizeof shorts && shorts[c] != 0) {
		text[1] = shorts[c];
		strbuf_add(out, text, 2);
		return;
	}
	text[4] = hex_digits[c >> 4];
	text[5] = hex_digits[c & 0xf];
	strbuf_add(out, text, 6);
}

/* One character that needs a look; returns the bytes it took. */
static size_t put_char(struct strbuf *out, const uint8_t *at, size_t left)
{
	size_t size = utf8_char_size(at, left);

	if (size == 0) {
		strbuf_puts(out, "\xef\xbf\xbd");
		return 1;
	}
	/* DEL and the C1 controls (U+0080 to U+009F) are legal in JSON, but steer terminals. */
	if (size == 1)
		put_escape(out, at[0]);
	else if (at[0] == 0xc2 && at[1] < 0xa0)
		put_escape(out, at[1]);
	else
		strbuf_add(out, (const char *)at, size);
	return size;
}

static void put_string(struct strbuf *out, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	size_t done = 0;

	strbuf_putc(out, '"');
	while (done < size) {
		size_t plain = done;

		while (plain < size && stands_for_itself(at[plain]))
			plain++;
		strbuf_add(out, (const char *)at + done, plain - done);
		done = plain;
		if (done < size)
			done += put_char(out, at + done, size - done);
	}
	strbuf_putc(out, '"');
}

/* What stands before each value. */
static void put_key(struct json_writer *w, const char *key)
{
	if (w->comma)
		strbuf_putc(w->out, ',');
	w->comma = true;
	if (key == NULL)
		return;
	strbuf_putc(w->out, '"');
	strbuf_puts(w->out, key);
	strbuf_add(w->out, "\":", 2);
}

void json_writer_init(struct json_writer *w, struct strbuf *out)
{
	w->out = out;
	w->comma = false;
}

void json_writer_open(struct json_writer *w, const char *key, char bracket)
{
	put_key(w, key);
	strbuf_putc(w->out, bracket);
	w->comma = false;
}

void json_writer_close(struct json_writer *w, char bracket)
{
	strbuf_putc(w->out, bracket);
	w->comma = true;
}

void json_writer_text(struct json_writer *w, const char *key, const char *text)
{
	json_writer_bytes(w, key, text, strlen(text));
}

void json_writer_bytes(struct json_writer *w, const char *key, const void *bytes, size_t size)
{
	put_key(w, key);
	put_string(w->out, bytes, size);
}

void json_writer_hex(struct json_writer *w, const char *key, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	put_key(w, key);
	strbuf_putc(w->out, '"');
	for (size_t i = 0; i < size; i++) {
		char pair[2] = { hex_digits[at[i] >> 4], hex_digits[at[i] & 0xf] };

		strbuf_add(w->out, pair, sizeof pair);
	}
	strbuf_putc(w->out, '"');
}

void json_writer_uint(struct json_writer *w, const char *key, uint64_t value)
{
	put_key(w, key);
	strbuf_uint(w->out, value);
}

void json_writer_bool(struct json_writer *w, const char *key, bool value)
{
	put_key(w, key);
	strbuf_puts(w->out, value ? "true" : "false");
}

void json_writer_null(struct json_writer *w, const char *key)
{
	put_key(w, key);
	strbuf_puts(w->out, "null");
}

void json_writer_ms(struct json_writer *w, const char *key, uint64_t ns)
{
	unsigned us = (unsigned)(ns / 1000 % 1000);
	char fraction[] = { '.', (char)('0' + us / 100), (char)('0' + us / 10 % 10),
			    (char)('0' + us % 10) };

	put_key(w, key);
	strbuf_uint(w->out, ns / 1000000);
	strbuf_add(w->out, fraction, sizeof fraction);
}
