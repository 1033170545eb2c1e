/* SPDX-License-Identifier: MIT */
#include "conf/config_place.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/strbuf.h"
#include "conf/config_document.h"
#include "conf/config_load.h"
#include "conf/json_text.h"

/* More of a value or a key than this only hides the message. */
#define SHOWN_MAX 64

enum about {
	ABOUT_VALUE,
	ABOUT_WHOLE,
	ABOUT_KEY,
};

/* As much as is worth showing; characters stay whole. */
static void add_shown(struct strbuf *s, const char *text, size_t size)
{
	size_t shown = size;

	if (size > SHOWN_MAX)
		for (shown = SHOWN_MAX; ((unsigned char)text[shown] & 0xc0) == 0x80;)
			shown--;
	strbuf_add(s, text, shown);
	if (shown < size)
		strbuf_puts(s, text[0] == '"' ? "…\"" : "…");
}

static bool is_plain_key(const char *key)
{
	for (const char *c = key; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-')
			return false;
	return *key != '\0';
}

static size_t index_in(const struct config_place *parent, const cJSON *value)
{
	size_t n = 0;

	for (const cJSON *c = parent->value->child; c != value; c = c->next)
		n++;
	return n;
}

/* listeners[0].trusted_proxies[2], without anything for the root. */
static void add_path(struct strbuf *s, const struct config_place *at)
{
	const char *key = at->value->string;

	if (at->parent == NULL)
		return;
	add_path(s, at->parent);
	if (key == NULL) {
		strbuf_printf(s, "[%zu]", index_in(at->parent, at->value));
	} else if (is_plain_key(key)) {
		if (at->parent->parent != NULL)
			strbuf_putc(s, '.');
		add_shown(s, key, strlen(key));
	} else {
		strbuf_puts(s, "[\"");
		add_shown(s, key, strlen(key));
		strbuf_puts(s, "\"]");
	}
}

static struct json_span locate(const struct config_place *at)
{
	size_t steps[JSON_DEPTH_MAX];
	size_t count = 0;
	const struct config_document *d = at->document;

	for (const struct config_place *p = at; p->parent != NULL; p = p->parent)
		count++;
	assert(count <= ARRAY_SIZE(steps));
	for (size_t i = count; i-- > 0; at = at->parent)
		steps[i] = index_in(at->parent, at->value);
	return json_locate(d->text, d->size, steps, count);
}

/* The flag that a place in the configuration made from the flags came from. */
static const char *flag_of(const struct config_place *at)
{
	static const struct {
		const char *key;
		const char *flag;
	} flags[] = {
		{ "listen", "--listen" },
		{ "upstream", "--upstream" },
		{ "trusted_proxies", "--trust" },
		{ "transparent", "--transparent" },
	};

	for (; at->parent != NULL; at = at->parent)
		for (size_t i = 0; at->value->string != NULL && i < ARRAY_SIZE(flags); i++)
			if (strcmp(at->value->string, flags[i].key) == 0)
				return flags[i].flag;
	return at->document->name;
}

static void add_where(struct strbuf *s, const struct config_place *at, size_t offset)
{
	unsigned line, column;

	if (at->document->is_flags) {
		strbuf_printf(s, "%s: ", flag_of(at));
		return;
	}
	json_line_column(at->document->text, offset, &line, &column);
	strbuf_printf(s, "%s:%u:%u: ", at->document->name, line, column);
	if (at->parent != NULL) {
		add_path(s, at);
		strbuf_puts(s, ": ");
	}
}

static void add_value(struct strbuf *s, const struct config_place *at, const struct json_span *span)
{
	if (at->value->child == NULL)
		add_shown(s, at->document->text + span->value, span->size);
	else
		strbuf_puts(s, cJSON_IsArray(at->value) ? "an array" : "an object");
	strbuf_puts(s, ": ");
}

static void refuse(const struct config_place *at, enum about about, const char *format,
		   va_list args) PRINTF_LIKE(3, 0);

static void refuse(const struct config_place *at, enum about about, const char *format,
		   va_list args)
{
	struct config_error *e = at->document->error;
	struct json_span span = locate(at);
	struct strbuf s;

	strbuf_init(&s, e->text, sizeof e->text);
	add_where(&s, at, about == ABOUT_KEY ? span.key : span.value);
	if (about == ABOUT_VALUE)
		add_value(&s, at, &span);
	strbuf_vprintf(&s, format, args);
}

int config_refuse(const struct config_place *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	refuse(at, ABOUT_VALUE, format, args);
	va_end(args);
	return -EINVAL;
}

int config_refuse_whole(const struct config_place *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	refuse(at, ABOUT_WHOLE, format, args);
	va_end(args);
	return -EINVAL;
}

int config_refuse_key(const struct config_place *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	refuse(at, ABOUT_KEY, format, args);
	va_end(args);
	return -EINVAL;
}
