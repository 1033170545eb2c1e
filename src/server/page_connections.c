/* SPDX-License-Identifier: MIT */
#include "server/page_connections.h"

#include <stdlib.h>

#include <uv.h>

#include "base/json_writer.h"
#include "base/strbuf.h"
#include "conf/config.h"
#include "server/page.h"
#include "session/service.h"
#include "session/session.h"
#include "session/session_env.h"
#include "session/session_log.h"

/* What one session takes, about [bytes]. */
#define GUESS_PER_SESSION 400

/* Left out if there is none. */
static void put_address(struct json_writer *w, const char *key, const struct address *a)
{
	char text[ADDRESS_TEXT_MAX];

	if (a->family == AF_UNSPEC)
		return;
	address_format(a, text);
	json_writer_text(w, key, text);
}

static void put_upstream(struct json_writer *w, const struct session *s)
{
	char buffer[ADDRESS_TEXT_MAX];
	const char *text = session_upstream_text(s, buffer);

	if (text != NULL)
		json_writer_text(w, "upstream", text);
}

/* The members are named as in the access log. */
static void put_session(struct json_writer *w, const struct session *s, uint64_t now_ns)
{
	json_writer_open(w, NULL, '{');
	json_writer_uint(w, "id", s->id);
	json_writer_text(w, "listener", s->service->config->name);
	json_writer_text(w, "state", session_state_name((enum session_state)s->state));
	put_address(w, "peer", &s->peer);
	put_address(w, "client", &s->client);
	put_address(w, "destination", &s->destination);
	json_writer_text(w, "command", proxy_command_name((enum proxy_command)s->command));
	json_writer_uint(w, "version", s->version);
	put_upstream(w, s);
	json_writer_bool(w, "transparent", s->service->config->transparent);
	json_writer_uint(w, "bytes_in", relay_bytes(&s->relay, RELAY_CLIENT));
	json_writer_uint(w, "bytes_out", relay_bytes(&s->relay, RELAY_UPSTREAM));
	json_writer_ms(w, "duration_ms", now_ns - s->accepted_ns);
	json_writer_close(w, '}');
}

static void render_part(struct strbuf *out, const void *data)
{
	const struct session_env *env = data;
	uint64_t now_ns = uv_hrtime();
	unsigned left = PAGE_CONNECTIONS_MAX;
	struct json_writer w;

	json_writer_init(&w, out);
	LIST_FOR_EACH (at, &env->sessions) {
		if (left-- == 0)
			return;
		put_session(&w, container_of(at, struct session, link), now_ns);
	}
}

void connections_part_write(const struct session_env *env, struct connections_part *ret)
{
	*ret = (struct connections_part){ .total = env->count };
	ret->shown = env->count < PAGE_CONNECTIONS_MAX ? env->count : PAGE_CONNECTIONS_MAX;
	ret->text = page_render(render_part, env, (ret->shown + 1) * GUESS_PER_SESSION, &ret->size);
	if (ret->text == NULL)
		ret->shown = 0;
}

void connections_part_fini(struct connections_part *part)
{
	free(part->text);
	part->text = NULL;
}

/* --- all parts --- */

struct connections {
	const struct connections_part *parts;
	unsigned count;
};

static void render_connections(struct strbuf *out, const void *data)
{
	const struct connections *c = data;
	const char *comma = "";
	uint64_t total = 0;
	uint64_t shown = 0;

	for (unsigned i = 0; i < c->count; i++) {
		total += c->parts[i].total;
		shown += c->parts[i].shown;
	}
	strbuf_printf(out, "{\"total\":%llu,\"truncated\":%s,\"connections\":[",
		      (unsigned long long)total, shown < total ? "true" : "false");
	for (unsigned i = 0; i < c->count; i++) {
		if (c->parts[i].shown == 0)
			continue;
		strbuf_puts(out, comma);
		strbuf_add(out, c->parts[i].text, c->parts[i].size);
		comma = ",";
	}
	strbuf_puts(out, "]}\n");
}

void page_connections(const struct connections_part *parts, unsigned count, struct page *ret)
{
	const struct connections c = { parts, count };
	size_t size = 256;

	for (unsigned i = 0; i < count; i++)
		size += parts[i].size + 1;
	*ret = (struct page){ .status = HTTP_OK, .type = HTTP_JSON };
	ret->body = page_render(render_connections, &c, size, &ret->size);
}
