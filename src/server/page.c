/* SPDX-License-Identifier: MIT */
#include "server/page.h"

#include <stdlib.h>

#include "base/json_writer.h"
#include "base/strbuf.h"

char *page_render(void (*render)(struct strbuf *out, const void *data), const void *data,
		  size_t guess, size_t *ret_size)
{
	for (;; guess *= 2) {
		char *text = malloc(guess);
		struct strbuf out;

		if (text == NULL)
			return NULL;
		strbuf_init(&out, text, guess);
		render(&out, data);
		if (!out.cut) {
			*ret_size = out.used;
			return text;
		}
		free(text);
	}
}

/* --- the index --- */

static void render_index(struct strbuf *out, const void *data)
{
	(void)data;
	strbuf_puts(out, "unproxy " UNPROXY_VERSION "\n"
			 "/metrics      counters, for Prometheus\n"
			 "/healthz      200 while the process works\n"
			 "/readyz       200 while it can serve; otherwise 503, and why\n"
			 "/connections  the open connections, as JSON\n");
}

void page_index(struct page *ret)
{
	*ret = (struct page){ .status = HTTP_OK, .type = HTTP_PLAIN_TEXT };
	ret->body = page_render(render_index, NULL, 512, &ret->size);
}

/* --- readiness --- */

static bool is_ready(const struct page_input *in)
{
	for (size_t i = 0; i < in->listener_count; i++)
		if (in->listeners[i].unready != NULL)
			return false;
	return !in->draining;
}

static void put_reason(struct json_writer *w, const char *listener, const char *reason)
{
	json_writer_open(w, NULL, '{');
	if (listener != NULL)
		json_writer_text(w, "listener", listener);
	json_writer_text(w, "reason", reason);
	json_writer_close(w, '}');
}

static void render_ready(struct strbuf *out, const void *data)
{
	const struct page_input *in = data;
	struct json_writer w;

	json_writer_init(&w, out);
	json_writer_open(&w, NULL, '{');
	json_writer_text(&w, "status", is_ready(in) ? "ready" : "unready");
	if (!is_ready(in)) {
		json_writer_open(&w, "reasons", '[');
		if (in->draining)
			put_reason(&w, NULL, "draining: unproxy is about to end");
		for (size_t i = 0; i < in->listener_count; i++)
			if (in->listeners[i].unready != NULL)
				put_reason(&w, in->listeners[i].name, in->listeners[i].unready);
		json_writer_close(&w, ']');
	}
	json_writer_close(&w, '}');
	strbuf_putc(out, '\n');
}

void page_ready(const struct page_input *in, struct page *ret)
{
	*ret =
	    (struct page){ .status = is_ready(in) ? HTTP_OK : HTTP_UNAVAILABLE, .type = HTTP_JSON };
	ret->body = page_render(render_ready, in, 1024, &ret->size);
}

/* --- health --- */

struct health {
	const unsigned *stuck;
	size_t count;
};

static void render_health(struct strbuf *out, const void *data)
{
	const struct health *h = data;
	struct json_writer w;

	json_writer_init(&w, out);
	json_writer_open(&w, NULL, '{');
	json_writer_text(&w, "status", h->count == 0 ? "ok" : "stuck");
	if (h->count > 0) {
		json_writer_open(&w, "workers", '[');
		for (size_t i = 0; i < h->count; i++)
			json_writer_uint(&w, NULL, h->stuck[i]);
		json_writer_close(&w, ']');
	}
	json_writer_close(&w, '}');
	strbuf_putc(out, '\n');
}

void page_health(const unsigned *stuck, size_t count, struct page *ret)
{
	const struct health h = { stuck, count };

	*ret =
	    (struct page){ .status = count == 0 ? HTTP_OK : HTTP_UNAVAILABLE, .type = HTTP_JSON };
	ret->body = page_render(render_health, &h, 256, &ret->size);
}
