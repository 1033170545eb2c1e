/* SPDX-License-Identifier: MIT */
#include "obs/access_log.h"

#include <string.h>

#include "base/json_writer.h"
#include "base/strbuf.h"
#include "obs/log_time.h"
#include "wire/tlv.h"

/* A line being written. The values of text are those of JSON, except that plain words need no quotes. */
struct line {
	enum log_format format;
	struct strbuf *out;
	struct json_writer json;
};

/* What stands before a value. Returns the key for the JSON writer; for text, the key is out already. */
static const char *line_key(struct line *l, const char *key)
{
	if (l->format == LOG_JSON)
		return key;
	strbuf_putc(l->out, ' ');
	strbuf_puts(l->out, key);
	strbuf_putc(l->out, '=');
	l->json.comma = false;
	return NULL;
}

/* Can it stand in text without quotes? */
static bool is_plain(const char *text)
{
	const char *at = text;

	while (*at > ' ' && *at < 0x7f && *at != '"' && *at != '=' && *at != '\\')
		at++;
	return at > text && *at == '\0';
}

static void line_text(struct line *l, const char *key, const char *value)
{
	key = line_key(l, key);
	if (l->format == LOG_TEXT && is_plain(value))
		strbuf_puts(l->out, value);
	else
		json_writer_text(&l->json, key, value);
}

/* Left out if there is none. */
static void line_address(struct line *l, const char *key, const struct address *a)
{
	char text[ADDRESS_TEXT_MAX];

	if (a->family == AF_UNSPEC)
		return;
	address_format(a, text);
	line_text(l, key, text);
}

static void line_uint(struct line *l, const char *key, uint64_t value)
{
	json_writer_uint(&l->json, line_key(l, key), value);
}

static void line_bool(struct line *l, const char *key, bool value)
{
	json_writer_bool(&l->json, line_key(l, key), value);
}

static void line_ms(struct line *l, const char *key, uint64_t ns)
{
	json_writer_ms(&l->json, line_key(l, key), ns);
}

/* Time, level and event, and what tells connections apart: a person looks for the outcome, a machine for
 * the id. */
static void write_head(struct line *l, const struct access_record *r)
{
	char time[LOG_TIME_MAX];
	struct strbuf stamp;

	strbuf_init(&stamp, time, sizeof time);
	log_time_format(r->time_ms, &stamp);
	if (l->format == LOG_TEXT) {
		strbuf_printf(l->out, "%s %-5s connection ", time, log_level_name(r->level));
		line_text(l, "outcome", outcome_name(r->outcome));
		line_text(l, "listener", r->listener);
		return;
	}
	json_writer_open(&l->json, NULL, '{');
	json_writer_text(&l->json, "time", time);
	json_writer_text(&l->json, "level", log_level_name(r->level));
	json_writer_text(&l->json, "event", "connection");
	json_writer_uint(&l->json, "id", r->id);
	json_writer_text(&l->json, "listener", r->listener);
	json_writer_text(&l->json, "outcome", outcome_name(r->outcome));
}

static void write_connection(struct line *l, const struct access_record *r)
{
	line_address(l, "peer", &r->peer);
	line_address(l, "client", &r->client);
	line_address(l, "destination", &r->destination);
	line_text(l, "command", proxy_command_name(r->command));
	line_uint(l, "version", r->version);
	if (r->upstream != NULL)
		line_text(l, "upstream", r->upstream);
	line_bool(l, "transparent", r->transparent);
	line_uint(l, "bytes_in", r->bytes_in);
	line_uint(l, "bytes_out", r->bytes_out);
	line_ms(l, "duration_ms", r->duration_ns);
	if (r->header_ns > 0)
		line_ms(l, "header_ms", r->header_ns);
	if (r->connect_ns > 0)
		line_ms(l, "connect_ms", r->connect_ns);
	if (l->format == LOG_TEXT)
		line_uint(l, "id", r->id);
}

static void write_line(const struct access_record *r, enum log_format format, bool with_tlvs,
		       struct strbuf *out)
{
	struct line l = { .format = format, .out = out };

	json_writer_init(&l.json, out);
	write_head(&l, r);
	write_connection(&l, r);
	if (r->tlvs != NULL && with_tlvs) {
		json_writer_open(&l.json, line_key(&l, "tlv"), '{');
		tlv_write_json(r->tlvs, r->tlvs_size, &l.json);
		json_writer_close(&l.json, '}');
	} else if (r->tlvs != NULL) {
		line_bool(&l, "tlv_truncated", true);
	}
	if (r->reason != NULL)
		line_text(&l, "reason", r->reason);
	if (r->hint != NULL)
		line_text(&l, "hint", r->hint);
	if (format == LOG_JSON)
		json_writer_close(&l.json, '}');
}

void access_log_format(const struct access_record *r, enum log_format format, struct strbuf *out)
{
	struct strbuf start = *out;

	write_line(r, format, true, out);
	if (!out->cut || r->tlvs == NULL)
		return;
	*out = start;
	write_line(r, format, false, out);
}
