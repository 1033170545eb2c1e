/* SPDX-License-Identifier: MIT */
#include "base/strbuf.h"

#include <stdio.h>
#include <string.h>

void strbuf_init(struct strbuf *s, char *data, size_t size)
{
	assert(size > 0);
	s->data = data;
	s->size = size;
	s->used = 0;
	s->cut = false;
	data[0] = '\0';
}

void strbuf_add(struct strbuf *s, const char *bytes, size_t size)
{
	size_t room = s->size - s->used - 1;

	if (s->cut)
		return;
	if (size > room) {
		size = room;
		s->cut = true;
	}
	memcpy(s->data + s->used, bytes, size);
	s->used += size;
	s->data[s->used] = '\0';
}

void strbuf_puts(struct strbuf *s, const char *text)
{
	strbuf_add(s, text, strlen(text));
}

void strbuf_putc(struct strbuf *s, char c)
{
	strbuf_add(s, &c, 1);
}

void strbuf_uint(struct strbuf *s, uint64_t value)
{
	char digits[20]; /* of 2^64 - 1 */
	size_t first = sizeof digits;

	do {
		digits[--first] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	strbuf_add(s, digits + first, sizeof digits - first);
}

void strbuf_printf(struct strbuf *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	strbuf_vprintf(s, format, args);
	va_end(args);
}

void strbuf_vprintf(struct strbuf *s, const char *format, va_list args)
{
	size_t room = s->size - s->used;
	int n;

	if (s->cut)
		return;
	n = vsnprintf(s->data + s->used, room, format, args);
	if (n < 0 || (size_t)n >= room) {
		s->cut = true;
		s->used += strlen(s->data + s->used);
	} else {
		s->used += (size_t)n;
	}
}
