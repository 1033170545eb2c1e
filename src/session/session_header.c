/* SPDX-License-Identifier: MIT */
#include "session/session_header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/address.h"
#include "conf/config.h"
#include "session/access.h"
#include "session/client_table.h"
#include "session/header_hint.h"
#include "session/service.h"
#include "session/session.h"
#include "session/session_env.h"
#include "session/session_log.h"
#include "session/transparent.h"
#include "wire/proxy_header.h"
#include "wire/tlv.h"

static enum outcome outcome_of_header_error(enum header_error e)
{
	switch (e) {
	case HEADER_NO_SIGNATURE:
		return OUTCOME_header_missing;
	case HEADER_TOO_LONG:
		return OUTCOME_header_too_long;
	case HEADER_BAD_VERSION:
		return OUTCOME_header_version;
	case HEADER_BAD_CRC:
	case HEADER_BAD_CRC_TLV:
		return OUTCOME_header_crc;
	case HEADER_OK:
	case HEADER_BAD_COMMAND:
	case HEADER_BAD_FAMILY:
	case HEADER_BAD_LINE:
	case HEADER_BAD_LINE_END:
	case HEADER_BAD_ADDRESS:
	case HEADER_BAD_PORT:
	case HEADER_SHORT:
	case HEADER_TLV_OVERRUN:
	case HEADER_BAD_UNIQUE_ID:
	case HEADER_BAD_SSL:
		break;
	}
	return OUTCOME_header_malformed;
}

static void session_note_header(struct session *s, uint8_t version, enum proxy_command command)
{
	s->version = version;
	s->command = (uint8_t)command;
	counter_add(&s->service->metrics->headers[version][command], 1);
}

/* Keep the TLVs for the access log, unless not even a refusal would be logged. Without memory the line
 * does without. */
static void session_keep_tlvs(struct session *s, const struct proxy_header *h)
{
	if (!session_log_wanted(s, OUTCOME_upstream_refused))
		return;
	if (!tlv_worth_logging(h->tlvs, h->tlvs_size))
		return;
	s->tlvs = malloc(h->tlvs_size);
	if (s->tlvs == NULL)
		return;
	memcpy(s->tlvs, h->tlvs, h->tlvs_size);
	s->tlvs_size = (uint16_t)h->tlvs_size;
}

/* Whose connection is it? The header's source if it names a TCP client, otherwise the peer's.
 * Returns false if the session was refused: a source that the application could mistake for its own host is
 * a forgery until the configuration says otherwise. */
static bool session_set_client(struct session *s, const struct proxy_header *h)
{
	s->client = s->peer;
	if (h->command != PROXY_COMMAND_PROXY)
		return true;
	if (h->transport != PROXY_TRANSPORT_STREAM || h->source.family == AF_UNSPEC) {
		s->reason = "the header names no TCP client, so the peer counts as the client";
		return true;
	}
	s->client = h->source;
	s->destination = h->destination;
	if (s->service->config->allow_loopback_clients || !address_is_loopback(&s->client))
		return true;
	session_refuse(
	    s, OUTCOME_client_address, "the header's source is a loopback address",
	    "an application may trust localhost; if the load balancer runs on this host, set "
	    "allow_loopback_clients");
	return false;
}

/* Count the client's connections, if they are limited. Returns false if that is one too many, and refused. */
static bool session_enter_client(struct session *s)
{
	const struct listener_config *config = s->service->config;
	const struct client_limits limits = {
		.max_connections = config->max_connections_per_client,
		.per_second = config->connection_rate_per_client.per_second,
		.burst = config->connection_rate_per_client.burst,
	};

	if (s->service->clients == NULL)
		return true;
	switch (client_table_enter(s->service->clients, &s->client, &limits, uv_hrtime())) {
	case CLIENT_ADMITTED:
		s->counted = true;
		return true;
	case CLIENT_UNTRACKED:
		/* Not so for peers without an address, who are never remembered. */
		if (address_ip_size(&s->client) > 0)
			counter_add(&s->service->metrics->clients_untracked, 1);
		return true;
	case CLIENT_TOO_MANY:
		session_refuse(s, OUTCOME_client_limit,
			       "too many connections of this client are open",
			       "raise max_connections_per_client if many users share an address");
		return false;
	case CLIENT_TOO_FAST:
		session_refuse(s, OUTCOME_client_limit, "this client connects too often",
			       "raise connection_rate_per_client if many users share an address");
		return false;
	}
	return false;
}

/* The client is known: is it one to connect for? */
static void session_admit_client(struct session *s, const struct session_input *in)
{
	const struct listener_config *config = s->service->config;
	const char *why = NULL;
	const char *hint = NULL;

	if (config->transparent)
		why = transparent_refusal(s->service->transparent, &s->client, &hint);
	if (why != NULL) {
		session_refuse(s, OUTCOME_client_address, why, hint);
	} else if (!access_is_allowed(config, &s->client, in->tlvs, in->tlvs_size, &why, &hint)) {
		if (hint == NULL && s->command == PROXY_COMMAND_LOCAL)
			hint = header_hint_for_local();
		session_refuse(s, OUTCOME_client_denied, why, hint);
	} else if (session_enter_client(s)) {
		session_accept_client(s, in);
	}
}

static void session_on_header(struct session *s, const struct proxy_header *h,
			      const uint8_t *payload, size_t size)
{
	const struct listener_config *config = s->service->config;
	const struct session_input in = { h->tlvs, h->tlvs_size, payload, size };

	session_note_header(s, h->version, h->command);
	session_keep_tlvs(s, h);
	if (!(config->versions & (1U << h->version))) {
		session_refuse(s, OUTCOME_header_version,
			       h->version == 1 ? "a v1 header, but `versions` lists only 2"
					       : "a v2 header, but `versions` lists only 1",
			       "change the sender, or add the version to `versions`");
		return;
	}
	if (session_set_client(s, h))
		session_admit_client(s, &in);
}

/* No header: the peer is its own client. */
void session_header_skip(struct session *s, const uint8_t *payload, size_t size)
{
	const struct session_input in = { .payload = payload, .payload_size = size };

	session_note_header(s, 0, PROXY_COMMAND_NONE);
	s->client = s->peer;
	session_admit_client(s, &in);
}

static bool session_peer_is_own_host(const struct session *s)
{
	struct address local;

	session_local_address(s, &local);
	return address_is_loopback(&s->peer) || address_same_ip(&s->peer, &local);
}

static void session_on_bad_header(struct session *s, enum header_error e, const uint8_t *data,
				  size_t size)
{
	const char *hint = NULL;

	if (e == HEADER_NO_SIGNATURE) {
		if (s->service->config->header_optional) {
			session_header_skip(s, data, size);
			return;
		}
		hint = header_hint_for_bytes(data, size);
		if (hint == NULL && session_peer_is_own_host(s))
			hint = header_hint_for_own_host();
	}
	session_refuse(s, outcome_of_header_error(e), header_error_text(e), hint);
}

/* The peer has ended the connection before its header was whole; @broken: by a reset. */
static void session_on_end_in_header(struct session *s, const uint8_t *data, size_t size,
				     bool broken)
{
	if (size == 0)
		session_close(s, OUTCOME_probe);
	else if (s->service->config->header_optional && !broken)
		session_header_skip(s, data, size);
	else
		session_close(s, OUTCOME_closed_in_header);
}

/* How large the buffer for a header of which @size bytes have come is. */
static size_t saved_room(size_t size)
{
	size_t room = 64;

	while (room < size)
		room *= 2;
	return room;
}

/* Keep the part of a header that has come, in a buffer that grows by doubling. */
static int session_save_header(struct session *s, const uint8_t *data, size_t size)
{
	if (s->saved == NULL || size > saved_room(s->saved_size)) {
		uint8_t *saved = realloc(s->saved, saved_room(size));

		if (saved == NULL)
			return -ENOMEM;
		s->saved = saved;
	}
	memcpy(s->saved, data, size);
	s->saved_size = (uint32_t)size;
	return 0;
}

/* @size bytes have come, all in all. */
static void session_parse_header(struct session *s, const uint8_t *data, size_t size)
{
	struct proxy_header h;
	enum header_error e = HEADER_OK;

	switch (proxy_header_parse(data, size, s->service->config->max_header_bytes, &h, &e)) {
	case PARSE_DONE:
		session_on_header(s, &h, data + h.length, size - h.length);
		break;
	case PARSE_MORE:
		if (session_save_header(s, data, size) != 0) {
			s->reason = uv_strerror(UV_ENOMEM);
			session_close(s, OUTCOME_header_timeout);
		}
		break;
	case PARSE_BAD:
		session_on_bad_header(s, e, data, size);
		break;
	}
}

/* Read once, behind what is saved, and look at the whole. Never takes more payload than a relay may hold. */
static void session_read_header(struct session *s)
{
	struct relay_side *side = &s->relay.side[RELAY_CLIENT];
	uint8_t *data = s->service->env->relay.scratch;
	size_t have = s->saved_size;
	size_t room = have < RELAY_CHUNK / 2 ? RELAY_CHUNK - have : RELAY_CHUNK / 2;
	ssize_t n;

	n = recv(side->fd, data + have, room, 0);
	if (n < 0 && errno == EINTR)
		return;
	/* The end is there to be read once more, by the relay. */
	side->readable = n == 0 || n == (ssize_t)room || (n > 0 && side->hung_up);
	if (n < 0 && errno == EAGAIN)
		return;
	if (have > 0)
		memcpy(data, s->saved, have);
	if (n > 0)
		session_parse_header(s, data, have + (size_t)n);
	else
		session_on_end_in_header(s, data, have, n < 0);
}

void session_header_read(struct session *s)
{
	while (s->state == SESSION_HEADER && s->relay.side[RELAY_CLIENT].readable)
		session_read_header(s);
}

/* The peer is refused before a byte of it is read. Bytes that are there already are only looked at,
 * and only for a hint in the log: a valid header from a stranger means a set-up gone wrong. */
void session_header_refuse_untrusted(struct session *s)
{
	uint8_t *data = s->service->env->relay.scratch;
	const char *hint = NULL;
	ssize_t n;

	if (session_log_wanted(s, OUTCOME_untrusted_source)) {
		n = recv(s->relay.side[RELAY_CLIENT].fd, data, PROXY_HEADER_MAX, MSG_PEEK);
		if (n > 0)
			hint = header_hint_for_untrusted(data, (size_t)n);
	}
	session_refuse(s, OUTCOME_untrusted_source, "the peer is not in trusted_proxies", hint);
}
