/* SPDX-License-Identifier: MIT */
/* A client connection, from accept to its end.
 *
 * Happy path:
 * - session_start() takes the accepted socket and reads at once: most headers are already there.
 * - The header is whole and its sender trusted: connect to the upstream, and send what came behind the
 *   header without waiting for the answer; on loopback that usually works.
 * - The upstream has answered: relay until both directions have seen FIN.
 * With `send_proxy` a header of our own goes ahead of all that; it is held until an upstream takes it.
 *
 * What can go wrong:
 * - The peer is not trusted, or its header is late, malformed or refused: it is reset, and the
 *   upstream never hears of it. The bytes of a slow header are kept in a buffer of their size.
 * - An upstream address fails: try the next; when there is none left and the upstream is a name, ask
 *   the resolver once more. Then the client is reset, so that it cannot take this for an orderly end.
 * - A unix upstream has its backlog full: ask again soon, for nothing tells.
 * - One side resets: so do we, on the other.
 * - The worker stops: session_close() is legal in every state. */
#include "session/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cidr_set.h"
#include "base/socket.h"
#include "conf/config.h"
#include "session/client_table.h"
#include "session/header_hint.h"
#include "session/service.h"
#include "session/session_env.h"
#include "session/session_header.h"
#include "session/session_log.h"
#include "session/session_send_proxy.h"
#include "session/transparent.h"

#define TO(state) (1U << SESSION_##state)
static const struct {
	const char *name;
	unsigned next;        /* states we may go to from here */
	enum outcome timeout; /* when the state's deadline is due */
} session_states[] = {
	[SESSION_HEADER] = { "header", TO(CONNECT) | TO(CLOSED), OUTCOME_header_timeout },
	[SESSION_CONNECT] = { "connect", TO(RELAY) | TO(CLOSED), OUTCOME_upstream_timeout },
	[SESSION_RELAY] = { "relay", TO(CLOSED), OUTCOME_idle_timeout },
	[SESSION_CLOSED] = { "closed", 0, OUTCOME_COUNT },
};
#undef TO
static_assert(ARRAY_SIZE(session_states) == SESSION_NSTATES, "name every state");
static_assert(METRICS_STATES == SESSION_CLOSED, "count every state but the last as active");

const char *session_state_name(enum session_state state)
{
	return session_states[state].name;
}

/* The one writer of the state: it moves the deadline along, so that no state waits without one. */
static void session_set_state(struct session *s, enum session_state next)
{
	struct listener_metrics *metrics = s->service->metrics;

	assert(session_states[s->state].next & (1U << next));
	counter_subtract(&metrics->active[s->state], 1);
	if (next != SESSION_CLOSED)
		counter_add(&metrics->active[next], 1);
	s->state = (uint8_t)next;
	deadline_arm(&s->deadline, &s->service->wait[next]);
}

struct upstream *session_upstream(const struct session *s)
{
	return &s->service->upstream[s->client.family == AF_INET6 ? 1 : 0];
}

void session_local_address(const struct session *s, struct address *ret)
{
	socket_local_address(s->relay.side[RELAY_CLIENT].fd, ret);
}

/* An orderly end is closed with FIN; everything else with RST, so that nobody takes it for one. */
static void session_close_socket(int fd, bool orderly)
{
	if (fd < 0)
		return;
	if (!orderly)
		socket_reset_on_close(fd);
	close(fd);
}

void session_close(struct session *s, enum outcome outcome)
{
	struct session_env *env = s->service->env;
	bool orderly = outcome == OUTCOME_finished || outcome == OUTCOME_probe;

	if (s->state == SESSION_CLOSED)
		return; /* the first outcome is the true one */
	session_set_state(s, SESSION_CLOSED);
	counter_add(&s->service->metrics->ended[outcome], 1);
	if (session_log_wanted(s, outcome))
		session_log(s, outcome);
	session_close_socket(s->relay.side[RELAY_CLIENT].fd, orderly);
	session_close_socket(s->relay.side[RELAY_UPSTREAM].fd, orderly);
	relay_fini(&s->relay, &env->relay);
	free(s->saved);
	free(s->tlvs);
	if (s->counted)
		client_table_leave(s->service->clients, &s->client);
	admission_leave(env->process);
	admission_leave(&s->service->shared->admission);
	poller_forget(&s->client_watch);
	list_remove(&s->link);
	list_append(&env->closed, &s->link);
	env->count--;
}

void session_free(struct session *s)
{
	list_remove(&s->link);
	service_unref(s->service);
	free(s);
}

void session_refuse(struct session *s, enum outcome outcome, const char *reason, const char *hint)
{
	s->reason = reason;
	s->hint = hint;
	session_close(s, outcome);
}

/* --- relaying --- */

static enum relay_status session_move(struct session *s)
{
	uint64_t in_before = relay_bytes(&s->relay, RELAY_CLIENT);
	uint64_t out_before = relay_bytes(&s->relay, RELAY_UPSTREAM);
	enum relay_status status = relay_pump(&s->relay, &s->service->env->relay);
	uint64_t in = relay_bytes(&s->relay, RELAY_CLIENT) - in_before;
	uint64_t out = relay_bytes(&s->relay, RELAY_UPSTREAM) - out_before;

	if (in == 0 && out == 0)
		return status;
	counter_add(&s->service->metrics->bytes_in, in);
	counter_add(&s->service->metrics->bytes_out, out);
	deadline_arm(&s->deadline, &s->service->wait[SESSION_RELAY]);
	return status;
}

static void session_pump(struct session *s)
{
	switch (session_move(s)) {
	case RELAY_WAIT:
		break;
	case RELAY_MORE:
		poller_again(&s->service->env->poller, &s->client_watch);
		break;
	case RELAY_FINISHED:
		session_close(s, OUTCOME_finished);
		return;
	case RELAY_CLIENT_RESET:
		session_close(s, OUTCOME_client_reset);
		return;
	case RELAY_UPSTREAM_RESET:
		session_close(s, OUTCOME_upstream_reset);
		return;
	}
}

/* --- connecting --- */

static void session_connected(struct session *s)
{
	struct listener_metrics *metrics = s->service->metrics;

	s->connected_ns = uv_hrtime();
	counter_set(&metrics->upstream_answer_ns, s->connected_ns);
	histogram_observe(&metrics->connect, s->connected_ns - s->header_ns);
	session_set_state(s, SESSION_RELAY);
	session_pump(s); /* what was reported while we were connecting is not reported again */
}

/* A connect_error: transparent mode found no address of the client's family. */
#define SESSION_NO_ADDRESS (-EDESTADDRREQ)

/* No address is left to try. */
static void session_connect_failed(struct session *s)
{
	struct upstream *u = session_upstream(s);

	if (u->endpoint->kind == ENDPOINT_NAME && !s->resolved_again) {
		s->resolved_again = true;
		if (service_resolve(s->service, u) == 0) {
			s->resolving = true; /* within the connect timeout */
			return;
		}
	}
	s->reason = uv_strerror(s->connect_error);
	switch (s->connect_error) {
	case -ECONNREFUSED:
	case -ENOENT: /* no such unix socket */
		session_close(s, OUTCOME_upstream_refused);
		return;
	case -ETIMEDOUT:
		session_close(s, OUTCOME_upstream_timeout);
		return;
	case SESSION_NO_ADDRESS:
		session_refuse(s, OUTCOME_family_mismatch,
			       s->client.family == AF_INET
				   ? "an IPv4 client, but `upstream` has no IPv4 address"
				   : "an IPv6 client, but `upstream` has no IPv6 address",
			       "let the application listen on both, and set `upstream` to "
			       "{\"ipv4\": …, \"ipv6\": …}");
		return;
	default:
		session_close(s, OUTCOME_upstream_error);
		return;
	}
}

/* upstream_connect() in transparent mode. The session is over if that cannot be done as the client. */
static int session_connect_as_client(struct session *s, int *ret_fd)
{
	struct session_service *service = s->service;
	struct transparent_result result;
	int rv = transparent_connect(service->transparent, &s->client, &s->upstream, &result);

	*ret_fd = result.fd;
	if (result.failed != NULL) {
		session_refuse(s, OUTCOME_bind_failed, result.failed, result.hint);
	} else if (result.note != NULL) {
		s->reason = result.note;
		counter_add(&service->metrics->port_conflicts, 1);
	}
	return rv;
}

/* Can the client reach an application at @a? In transparent mode it takes the same family. */
static bool session_can_use(const struct session *s, const struct address *a)
{
	return !s->service->config->transparent || a->family == s->client.family;
}

/* Connecting has begun on a new upstream socket: send what is held for it, or the payload, without waiting for an
 * answer, and watch the socket. Returns 0 if there is nothing more to do now, or why this address failed. */
static int session_send_first(struct session *s, bool connected, const uint8_t *payload,
			      size_t size)
{
	int fd = s->relay.side[RELAY_UPSTREAM].fd;
	int64_t sent = relay_send_first(&s->relay, payload, size);
	int rv;

	if (sent < 0 && sent != -ENOMEM)
		return (int)sent;
	counter_add(&s->service->metrics->bytes_in, relay_bytes(&s->relay, RELAY_CLIENT));
	rv = sent < 0 ? (int)sent
		      : poller_add(&s->service->env->poller, fd, POLLER_SOCKET, &s->upstream_watch);
	if (rv != 0) { /* some of the payload may have been sent, so no second try */
		s->reason = uv_strerror(rv);
		session_close(s, OUTCOME_upstream_error);
	} else if (connected || sent > 0) {
		session_connected(s);
	}
	return 0;
}

/* Start on one address. Returns 0 if there is nothing more to do now, or why this address failed. */
static int session_try_address(struct session *s, const uint8_t *payload, size_t size)
{
	struct upstream *u = session_upstream(s);
	int fd;
	int rv;

	s->upstream = u->addresses.list[s->attempt];
	rv = s->service->config->transparent ? session_connect_as_client(s, &fd)
					     : upstream_connect(u, s->attempt, &fd);
	if (rv < 0)
		return s->state == SESSION_CLOSED ? 0 : rv;
	relay_set_socket(&s->relay, RELAY_UPSTREAM, fd);
	rv = session_send_first(s, rv == 0, payload, size);
	if (rv < 0) {
		close(fd);
		s->relay.side[RELAY_UPSTREAM].fd = -1;
	}
	return rv;
}

/* Try the addresses from s->attempt on. @payload came with the header; it is in the scratch buffer, so
 * whatever cannot be sent now has to be held. Later calls pass none, nor does who holds it already. */
static void session_connect(struct session *s, const uint8_t *payload, size_t size)
{
	struct session_env *env = s->service->env;
	const struct upstream *u = session_upstream(s);

	if (s->attempt == 0)
		s->connect_error = SESSION_NO_ADDRESS;
	for (; s->attempt < u->addresses.count; s->attempt++) {
		if (!session_can_use(s, &u->addresses.list[s->attempt]))
			continue;
		s->connect_error = session_try_address(s, payload, size);
		if (s->connect_error == 0)
			return;
		if (s->connect_error == -EAGAIN && s->upstream.family == AF_UNIX)
			break;
	}
	if (size > 0 && relay_hold_first(&s->relay, payload, size) != 0) {
		s->reason = uv_strerror(UV_ENOMEM);
		session_close(s, OUTCOME_upstream_error);
	} else if (s->connect_error == -EAGAIN && s->upstream.family == AF_UNIX) {
		deadline_arm(&s->deadline, &env->retry);
	} else {
		session_connect_failed(s);
	}
}

void session_accept_client(struct session *s, const struct session_input *in)
{
	s->header_ns = uv_hrtime();
	histogram_observe(&s->service->metrics->header, s->header_ns - s->accepted_ns);
	free(s->saved);
	s->saved = NULL;
	session_set_state(s, SESSION_CONNECT);
	if (s->service->config->send_proxy == CONFIG_SEND_OFF) {
		session_connect(s, in->payload, in->payload_size);
	} else if (session_hold_header(s, in) == 0) {
		session_connect(s, NULL, 0);
	} else {
		s->reason = uv_strerror(UV_ENOMEM);
		session_close(s, OUTCOME_upstream_error);
	}
}

void session_on_retry(struct deadline *d)
{
	struct session *s = container_of(d, struct session, deadline);
	uint64_t waited_ms = (uv_hrtime() - s->header_ns) / 1000000;

	if (waited_ms < s->service->config->connect_timeout_ms)
		session_connect(s, NULL, 0);
	else
		session_refuse(s, OUTCOME_upstream_timeout, "the unix socket's backlog is full",
			       "the application accepts too slowly, or not at all");
}

void session_on_resolved(struct upstream *u, int status)
{
	struct session_service *service = u->data;

	LIST_FOR_EACH_SAFE (at, &service->env->sessions) {
		struct session *s = container_of(at, struct session, link);

		if (session_upstream(s) != u || !s->resolving) /* or of another service */
			continue;
		s->resolving = false;
		s->attempt = 0;
		if (status == 0)
			session_connect(s, NULL, 0);
		else
			session_connect_failed(s);
	}
	session_env_reap(service->env);
}

static void session_on_connect_event(struct session *s, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP)) {
		s->connect_error = socket_take_error(s->relay.side[RELAY_UPSTREAM].fd);
		close(s->relay.side[RELAY_UPSTREAM].fd);
		s->relay.side[RELAY_UPSTREAM].fd = -1;
		s->attempt++;
		session_connect(s, NULL, 0);
	} else if (events & EPOLLOUT) {
		session_connected(s);
	}
}

/* --- events --- */

void session_on_deadline(struct deadline *d)
{
	struct session *s = container_of(d, struct session, deadline);
	struct upstream *u;

	if (s->state == SESSION_HEADER && s->saved == NULL)
		s->hint = header_hint_for_silence();
	if (s->state == SESSION_CONNECT) {
		u = session_upstream(s);
		/* Its addresses may be out of date: the next client profits from the answer. */
		if (u->endpoint->kind == ENDPOINT_NAME && service_resolve(s->service, u) != 0)
			s->hint = "asking the resolver again failed, too";
		else if (s->service->config->transparent)
			s->hint = "the application's answers may not find their way back: "
				  "`unproxy routes status`";
	}
	session_close(s, session_states[s->state].timeout);
}

static void session_on_client_event(struct poller_watch *w, uint32_t events)
{
	struct session *s = container_of(w, struct session, client_watch);

	relay_note_events(&s->relay, RELAY_CLIENT, events);
	if (s->state == SESSION_HEADER)
		session_header_read(s);
	else if (s->state == SESSION_RELAY)
		session_pump(s);
	/* Nobody reads while connecting, and the event that brought the header may have been the only one to
	 * tell of a reset. */
	if (s->state == SESSION_CONNECT && s->relay.side[RELAY_CLIENT].failed)
		session_close(s, OUTCOME_client_reset);
}

static void session_on_upstream_event(struct poller_watch *w, uint32_t events)
{
	struct session *s = container_of(w, struct session, upstream_watch);

	relay_note_events(&s->relay, RELAY_UPSTREAM, events);
	if (s->state == SESSION_CONNECT)
		session_on_connect_event(s, events);
	else if (s->state == SESSION_RELAY)
		session_pump(s);
}

/* --- the start --- */

static bool session_peer_is_trusted(const struct session *s)
{
	const struct listener_config *config = s->service->config;

	if (s->peer.family == AF_UNIX)
		return config->trust_unix;
	return cidr_set_contains(config->trusted, &s->peer);
}

/* Both counts go up, whatever the answer, and down again in session_close(). */
static bool session_is_admitted(struct session *s)
{
	bool admitted = admission_enter(s->service->env->process);

	if (!admission_enter(&s->service->shared->admission))
		admitted = false;
	return admitted;
}

static void session_begin(struct session *s)
{
	if (!session_is_admitted(s)) {
		session_refuse(s, OUTCOME_listener_limit, "too many connections are open",
			       "raise max_connections or the limit on open files (ulimit -n)");
	} else if (session_peer_is_trusted(s)) {
		s->relay.side[RELAY_CLIENT].readable = true; /* for one try */
		session_header_read(s);
	} else if (s->service->config->untrusted_pass) {
		session_header_skip(s, NULL, 0);
	} else {
		session_header_refuse_untrusted(s);
	}
}

int session_start(struct session_service *service, int fd, const struct address *peer)
{
	struct session_env *env = service->env;
	struct session *s = calloc(1, sizeof *s);
	int rv;

	if (s == NULL)
		return -ENOMEM;
	s->service = service_ref(service);
	poller_watch_init(&s->client_watch, session_on_client_event);
	poller_watch_init(&s->upstream_watch, session_on_upstream_event);
	s->accepted_ns = uv_hrtime();
	s->id = env->next_id;
	env->next_id += env->id_step;
	s->peer = *peer;
	relay_init(&s->relay);
	relay_set_socket(&s->relay, RELAY_CLIENT, fd);
	deadline_init(&s->deadline);
	deadline_arm(&s->deadline, &service->wait[SESSION_HEADER]);
	counter_add(&service->metrics->accepted, 1);
	counter_add(&service->metrics->active[SESSION_HEADER], 1);
	list_init(&s->link);
	list_append(&env->sessions, &s->link);
	env->count++;

	session_begin(s);
	/* Only now, when the first read has been done: what came in the meantime is reported. */
	if (s->state == SESSION_CLOSED)
		return 0;
	rv = poller_add(&env->poller, fd, POLLER_SOCKET, &s->client_watch);
	if (rv != 0)
		session_refuse(s, OUTCOME_listener_limit, uv_strerror(rv), NULL);
	return 0;
}
