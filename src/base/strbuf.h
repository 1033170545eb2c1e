/* SPDX-License-Identifier: MIT */
/* A text builder over the caller's memory. It never writes past the end, and knows when it was cut. */
#ifndef STRBUF_H
#define STRBUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bug.h"

struct strbuf {
	char *data;  /* the caller's; always zero-terminated */
	size_t size; /* of data, with the terminating zero [bytes] */
	size_t used; /* without the terminating zero [bytes] */
	bool cut;    /* something did not fit; its rest and everything after it was left out */
};

/* @size is at least 1. */
void strbuf_init(struct strbuf *s, char *data, size_t size);

void strbuf_add(struct strbuf *s, const char *bytes, size_t size);
void strbuf_puts(struct strbuf *s, const char *text);
void strbuf_putc(struct strbuf *s, char c);
void strbuf_uint(struct strbuf *s, uint64_t value); /* in decimal, faster than strbuf_printf() */
void strbuf_printf(struct strbuf *s, const char *format, ...) PRINTF_LIKE(2, 3);
void strbuf_vprintf(struct strbuf *s, const char *format, va_list args) PRINTF_LIKE(2, 0);

#endif
