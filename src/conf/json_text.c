/* SPDX-License-Identifier: MIT */
#include "conf/json_text.h"

#include <stdint.h>
#include <string.h>

/* cJSON takes numbers of up to 62 characters; no number of ours needs half of it. */
#define NUMBER_MAX 30

struct scanner {
	const char *at;
	const char *end;
	const char *where; /* the first mistake; NULL: none so far */
	const char *why;
	unsigned depth;
};

static bool scan_value(struct scanner *s);

static bool fail_at(struct scanner *s, const char *where, const char *why)
{
	s->where = where;
	s->why = why;
	return false;
}

/* Something else stands here than what JSON goes on with. */
static bool fail(struct scanner *s, const char *why)
{
	if (s->at < s->end && (*s->at == '/' || *s->at == '#'))
		why = "JSON has no comments; remove this one";
	return fail_at(s, s->at, why);
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
		at++;
	return at;
}

/* Is @c the next character that is no space? If so, step over it. */
static bool accept(struct scanner *s, char c)
{
	s->at = skip_space(s->at, s->end);
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

static bool is_digit(const struct scanner *s)
{
	return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f);
}

/* One UTF-8 sequence (RFC 3629) at s->at, without stepping over it. Returns its size, or 0. */
static size_t utf8_peek(const struct scanner *s, uint32_t *ret)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)s->at;
	size_t size;
	uint32_t c;

	if (p[0] < 0x80)
		size = 1;
	else if (p[0] < 0xc0 || p[0] > 0xf4)
		return 0;
	else
		size = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (size > (size_t)(s->end - s->at))
		return 0;
	c = size == 1 ? p[0] : p[0] & (0xffU >> (size + 1));
	for (size_t i = 1; i < size; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fU);
	}
	if (c < smallest[size] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return size;
}

/* The four digits behind "\u". */
static bool scan_hex4(struct scanner *s, uint32_t *ret)
{
	*ret = 0;
	for (int i = 0; i < 4; i++) {
		char c = s->at < s->end ? *s->at : '\0';

		if (c >= '0' && c <= '9')
			*ret = *ret << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			*ret = *ret << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return false;
		s->at++;
	}
	return true;
}

/* s->at is behind the "u". */
static bool scan_unicode_escape(struct scanner *s, const char *start)
{
	uint32_t c, low;

	if (!scan_hex4(s, &c))
		return fail_at(s, start, "\\u is followed by four hexadecimal digits");
	if (is_control(c))
		return fail_at(s, start, "control characters are not allowed in strings");
	if (c < 0xd800 || c > 0xdfff)
		return true;
	if (c <= 0xdbff && s->end - s->at > 2 && s->at[0] == '\\' && s->at[1] == 'u') {
		s->at += 2;
		if (scan_hex4(s, &low) && low >= 0xdc00 && low <= 0xdfff)
			return true;
	}
	return fail_at(s, start, "half of a surrogate pair");
}

static bool scan_escape(struct scanner *s)
{
	const char *start = s->at++;
	char c = s->at < s->end ? *s->at++ : '\0';

	switch (c) {
	case '"':
	case '\\':
	case '/':
		return true;
	case 'u':
		return scan_unicode_escape(s, start);
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return fail_at(s, start,
			       "control characters are not allowed in strings; a backslash is "
			       "written \\\\");
	default:
		return fail_at(s, start, "unknown escape; a backslash is written \\\\");
	}
}

static bool scan_string(struct scanner *s)
{
	const char *start = s->at++;
	uint32_t c;

	while (s->at < s->end && *s->at != '\n' && *s->at != '\r') {
		size_t size = utf8_peek(s, &c);

		if (size == 0)
			return fail(s, "not valid UTF-8");
		if (is_control(c))
			return fail(s, "control characters are not allowed in strings");
		if (c == '"') {
			s->at++;
			return true;
		}
		if (c == '\\') {
			if (!scan_escape(s))
				return false;
			continue;
		}
		s->at += size;
	}
	return fail_at(s, start, "the string has no closing quote on its line");
}

static bool scan_digits(struct scanner *s)
{
	if (!is_digit(s))
		return fail(s, "expected a digit");
	while (is_digit(s))
		s->at++;
	return true;
}

static bool scan_number(struct scanner *s)
{
	const char *start = s->at;

	if (*s->at == '-')
		s->at++;
	if (is_digit(s) && *s->at == '0') {
		s->at++;
		if (is_digit(s))
			return fail_at(s, start, "numbers are written without leading zeros");
	} else if (!scan_digits(s)) {
		return false;
	}
	if (s->at < s->end && *s->at == '.') {
		s->at++;
		if (!scan_digits(s))
			return false;
	}
	if (s->at < s->end && (*s->at | 0x20) == 'e') {
		s->at++;
		if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
			s->at++;
		if (!scan_digits(s))
			return false;
	}
	if (s->at - start > NUMBER_MAX)
		return fail_at(s, start, "no number here needs so many digits");
	return true;
}

static bool scan_word(struct scanner *s)
{
	static const char *const words[] = { "true", "false", "null" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t size = strlen(words[i]);

		if (size <= (size_t)(s->end - s->at) && memcmp(s->at, words[i], size) == 0) {
			s->at += size;
			return true;
		}
	}
	return fail(s, "expected a value: a string in double quotes, a number, true, false, "
		       "\"{\" or \"[\"");
}

static bool scan_array(struct scanner *s)
{
	s->at++;
	if (accept(s, ']'))
		return true;
	for (;;) {
		const char *comma;

		if (!scan_value(s))
			return false;
		if (accept(s, ']'))
			return true;
		if (!accept(s, ','))
			return fail(s, "expected \",\" or \"]\"");
		comma = s->at - 1;
		if (accept(s, ']'))
			return fail_at(s, comma, "nothing follows this comma; remove it");
	}
}

static bool scan_object(struct scanner *s)
{
	s->at++;
	if (accept(s, '}'))
		return true;
	for (;;) {
		const char *comma;

		s->at = skip_space(s->at, s->end);
		if (s->at == s->end || *s->at != '"')
			return fail(s, "expected a key in double quotes");
		if (!scan_string(s))
			return false;
		if (!accept(s, ':'))
			return fail(s, "expected \":\" behind the key");
		if (!scan_value(s))
			return false;
		if (accept(s, '}'))
			return true;
		if (!accept(s, ','))
			return fail(s, "expected \",\" or \"}\"");
		comma = s->at - 1;
		if (accept(s, '}'))
			return fail_at(s, comma, "nothing follows this comma; remove it");
	}
}

static bool scan_container(struct scanner *s)
{
	bool ok;

	if (s->depth == JSON_DEPTH_MAX)
		return fail(s, "nested too deeply");
	s->depth++;
	ok = *s->at == '{' ? scan_object(s) : scan_array(s);
	s->depth--;
	return ok;
}

static bool scan_value(struct scanner *s)
{
	char c;

	s->at = skip_space(s->at, s->end);
	c = s->at < s->end ? *s->at : '\0';
	if (c == '{' || c == '[')
		return scan_container(s);
	if (c == '"')
		return scan_string(s);
	if (c == '-' || is_digit(s))
		return scan_number(s);
	if (c == '\'')
		return fail(s, "strings are written in double quotes");
	return scan_word(s);
}

bool json_check(const char *text, size_t size, size_t *reterr_at, const char **reterr_why)
{
	struct scanner s = { .at = text, .end = text + size };
	bool ok;

	if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		ok = fail(&s, "a byte order mark; save it as UTF-8 without one");
	} else if (skip_space(text, s.end) == s.end) {
		ok = fail(&s, "there is nothing in it");
	} else {
		ok = scan_value(&s);
		s.at = skip_space(s.at, s.end);
		if (ok && s.at < s.end)
			ok = fail(&s, "nothing may follow the end of the value");
	}
	if (!ok) {
		*reterr_at = (size_t)(s.where - text);
		*reterr_why = s.why;
	}
	return ok;
}

/* From here on the text is known to be right, so only its shape counts. */

static const char *skip_string(const char *at)
{
	for (at++; *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at + 1;
}

static const char *skip_value(const char *at, const char *end)
{
	unsigned depth = 0;

	if (strchr("\"{[", *at) == NULL) { /* a number or a word */
		while (at < end && strchr(",]} \t\r\n", *at) == NULL)
			at++;
		return at;
	}
	do {
		if (*at == '"') {
			at = skip_string(at);
			continue;
		}
		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		at++;
	} while (depth > 0);
	return at;
}

struct json_span json_locate(const char *text, size_t size, const size_t *steps, size_t count)
{
	const char *end = text + size;
	const char *at = skip_space(text, end);
	const char *key = at;

	for (size_t i = 0; i < count; i++) {
		bool object = *at == '{';

		for (size_t n = 0;; n++) {
			key = at = skip_space(at + 1, end); /* behind the bracket or the comma */
			if (object) {
				at = skip_space(skip_string(at), end);
				at = skip_space(at + 1, end); /* behind the colon */
			}
			if (n == steps[i])
				break;
			at = skip_space(skip_value(at, end), end);
		}
	}
	return (struct json_span){ (size_t)(key - text), (size_t)(at - text),
				   (size_t)(skip_value(at, end) - at) };
}

void json_line_column(const char *text, size_t at, unsigned *retline, unsigned *retcolumn)
{
	*retline = 1;
	*retcolumn = 1;
	for (size_t i = 0; i < at; i++) {
		if (text[i] == '\n') {
			++*retline;
			*retcolumn = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			++*retcolumn;
		}
	}
}
