/* SPDX-License-Identifier: MIT */
#include "session/session_log.h"

#include <sys/socket.h>

#include "base/strbuf.h"
#include "conf/config.h"
#include "obs/access_log.h"
#include "obs/log.h"
#include "obs/log_time.h"
#include "session/service.h"
#include "session/session.h"
#include "session/session_env.h"

/* Refused connections are warnings; health checks would drown everything else. */
static enum log_level session_log_level(enum outcome outcome)
{
	if (outcome == OUTCOME_probe)
		return LOG_DEBUG;
	return outcome_is_refusal(outcome) ? LOG_WARN : LOG_INFO;
}

bool session_log_wanted(const struct session *s, enum outcome outcome)
{
	const struct session_env *env = s->service->env;

	return s->service->owner->log_access && log_enabled(env->log, session_log_level(outcome));
}

const char *session_upstream_text(const struct session *s, char buffer[static ADDRESS_TEXT_MAX])
{
	if (s->upstream.family == AF_UNSPEC)
		return NULL;
	if (s->upstream.family == AF_UNIX)
		return session_upstream(s)->endpoint->text;
	address_format(&s->upstream, buffer);
	return buffer;
}

void session_log(const struct session *s, enum outcome outcome)
{
	struct session_env *env = s->service->env;
	char line[ACCESS_LOG_LINE_MAX];
	char upstream[ADDRESS_TEXT_MAX];
	struct strbuf out;
	struct access_record r = {
		.level = session_log_level(outcome),
		.time_ms = log_time_now_ms(),
		.id = s->id,
		.listener = s->service->config->name,
		.outcome = outcome,
		.peer = s->peer,
		.client = s->client,
		.destination = s->destination,
		.command = (enum proxy_command)s->command,
		.version = s->version,
		.upstream = session_upstream_text(s, upstream),
		.transparent = s->service->config->transparent,
		.bytes_in = relay_bytes(&s->relay, RELAY_CLIENT),
		.bytes_out = relay_bytes(&s->relay, RELAY_UPSTREAM),
		.duration_ns = uv_hrtime() - s->accepted_ns,
		.tlvs = s->tlvs,
		.tlvs_size = s->tlvs_size,
		.reason = s->reason,
		.hint = s->hint,
	};

	if (s->header_ns != 0)
		r.header_ns = s->header_ns - s->accepted_ns;
	if (s->connected_ns != 0)
		r.connect_ns = s->connected_ns - s->header_ns;
	if (r.destination.family == AF_UNSPEC) /* no header told */
		session_local_address(s, &r.destination);
	strbuf_init(&out, line, sizeof line);
	access_log_format(&r, log_format_of(env->log), &out);
	log_line(env->log, out.data, out.used);
}
