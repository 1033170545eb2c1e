/* SPDX-License-Identifier: MIT */
/* Happy path: upstream_check.c says that the upstream is up; nothing follows.
 *
 * What can go wrong:
 * - It says that the upstream is down: every worker is told to shut the listener, if that is configured, and to reopen it
 *   later.
 * - There is no memory to tell them: it stays as it is until the health changes again.
 * - Another program is about to take over: it is not shut until that has come to nothing. */
#include "server/listener_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/config.h"
#include "obs/log.h"
#include "server/server_private.h"
#include "server/upstream_check.h"
#include "server/worker_update.h"

struct listener_check {
	struct server *server;
	struct server_listener *listener;
	struct config *config;            /* a reference */
	const struct listener_config *of; /* in it: what is checked */
	struct upstream_check *upstream;
	uint64_t
	    since_ns; /* answers that are older may be those of another upstream; uv_hrtime() */
	bool was_down;
};

/* --- the workers --- */

static void free_update(struct worker_update *u)
{
	free(u);
}

static void free_updates(struct worker_update **updates, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(updates[i]);
	free(updates);
}

/* One for each worker, with the change of its sockets of @l. NULL when out of memory. */
static struct worker_update **make_updates(struct server *s, const struct server_listener *l,
					   enum worker_change_kind kind)
{
	struct worker_update **updates = calloc(s->worker_count, sizeof(*updates));

	for (unsigned i = 0; updates != NULL && i < s->worker_count; i++) {
		updates[i] = worker_update_create(s->workers[i], l->socket_count);
		if (updates[i] == NULL) {
			free_updates(updates, i);
			return NULL;
		}
		updates[i]->applied_cb = free_update; /* on the worker's thread */
	}
	for (unsigned i = 0; updates != NULL && i < l->socket_count; i++) {
		const struct worker_change change = { .kind = kind,
						      .listener = l->sockets[i].listener };

		worker_update_append(updates[i % s->worker_count], &change);
	}
	return updates;
}

static void tell_workers(struct server *s, struct server_listener *l, bool shut)
{
	struct worker_update **updates;

	updates = make_updates(s, l, shut ? WORKER_SHUT_LISTENER : WORKER_REOPEN_LISTENER);
	if (updates == NULL) {
		log_message(s->log_buffer, LOG_ERROR, "upstream",
			    "%s: out of memory; it goes on %s connections", l->config->name,
			    shut ? "accepting" : "refusing");
		return;
	}
	for (unsigned i = 0; i < s->worker_count; i++)
		worker_update_post(updates[i]);
	free(updates);
	l->shut = shut;
}

/* A program that is about to take over expects the sockets to listen. */
static void shut_or_reopen(struct server *s, struct server_listener *l, bool shut)
{
	if (shut != l->shut && s->phase == WORKER_SERVE && !(shut && s->handover != NULL))
		tell_workers(s, l, shut);
}

/* As long as nothing is known, it stays as it is. */
static bool is_to_be_shut(const struct server_listener *l)
{
	if (l->check == NULL || !l->config->upstream_check_close_listener)
		return false;
	switch (upstream_check_health(l->check->upstream)) {
	case UPSTREAM_UNKNOWN:
		return l->shut;
	case UPSTREAM_UP:
		return false;
	case UPSTREAM_DOWN:
		break;
	}
	return true;
}

/* --- the check --- */

static uint64_t check_answered_ns(void *data)
{
	const struct listener_check *c = data;
	const struct service_shared *shared = c->listener->shared;
	uint64_t latest = 0;

	for (unsigned i = 0; i < shared->workers; i++) {
		uint64_t ns = counter_read(&shared->metrics[i].upstream_answer_ns);

		if (ns > latest)
			latest = ns;
	}
	return latest > c->since_ns ? latest : 0;
}

/* That it is up when it was not known to be down is no news. */
static void check_log(const struct listener_check *c, bool reopens)
{
	struct log_buffer *log = c->server->log_buffer;
	const struct listener_config *config = c->listener->config;
	bool is_down = upstream_check_health(c->upstream) == UPSTREAM_DOWN;

	if (is_down)
		log_message(log, LOG_WARN, "upstream", "%s: the upstream is down: %s%s",
			    config->name, upstream_check_reason(c->upstream),
			    config->upstream_check_close_listener
				? "; refusing connections until it accepts them"
				: "");
	else if (c->was_down || reopens)
		log_message(log, LOG_INFO, "upstream", "%s: the upstream is up%s", config->name,
			    reopens ? "; accepting connections again" : "");
}

static void check_on_change(void *data)
{
	struct listener_check *c = data;
	struct server_listener *l = c->listener;
	bool shut = is_to_be_shut(l);

	check_log(c, l->shut && !shut);
	c->was_down = upstream_check_health(c->upstream) == UPSTREAM_DOWN;
	shut_or_reopen(c->server, l, shut);
}

static struct listener_check *check_create(struct server *s, struct server_listener *l)
{
	struct listener_check *c = calloc(1, sizeof *c);
	const struct upstream_check_options options = {
		.loop = &s->loop,
		.config = s->config,
		.listener = l->config,
		.addresses = l->addresses,
		.answered_ns = check_answered_ns,
		.changed = check_on_change,
		.data = c,
	};

	if (c == NULL || upstream_check_create(&options, &c->upstream) != 0) {
		free(c);
		return NULL;
	}
	c->server = s;
	c->listener = l;
	c->config = config_ref(s->config);
	c->of = l->config;
	c->since_ns = uv_hrtime();
	return c;
}

/* Would another check of @l find out anything else? */
static bool check_is_good_for(const struct listener_check *c, const struct listener_config *l)
{
	return c->of->upstream_check_interval_ms == l->upstream_check_interval_ms &&
	       c->of->connect_timeout_ms == l->connect_timeout_ms &&
	       strcmp(c->of->upstream[0].text, l->upstream[0].text) == 0 &&
	       strcmp(c->of->upstream[1].text, l->upstream[1].text) == 0;
}

int listener_check_apply(struct server *s, struct server_listener *l)
{
	bool is_wanted = config_checks_upstream(s->config, l->config);

	if (l->check != NULL && !(is_wanted && check_is_good_for(l->check, l->config)))
		listener_check_stop(l);
	if (l->check == NULL && is_wanted)
		l->check = check_create(s, l);
	shut_or_reopen(s, l, is_to_be_shut(l));
	return is_wanted && l->check == NULL ? -ENOMEM : 0;
}

void listener_check_after_handover(struct server *s, struct server_listener *l)
{
	if (is_to_be_shut(l))
		tell_workers(s, l, true);
}

void listener_check_let_go(struct server *s, struct server_listener *l)
{
	shut_or_reopen(s, l, false);
}

void listener_check_stop(struct server_listener *l)
{
	if (l->check == NULL)
		return;
	upstream_check_destroy(l->check->upstream);
	config_unref(l->check->config);
	free(l->check);
	l->check = NULL;
}

bool listener_check_is_up(const struct server_listener *l)
{
	return l->check != NULL && upstream_check_health(l->check->upstream) == UPSTREAM_UP;
}

const char *listener_check_unready(const struct server_listener *l)
{
	if (l->check == NULL || listener_check_is_up(l))
		return NULL;
	if (upstream_check_health(l->check->upstream) == UPSTREAM_UNKNOWN)
		return "the upstream has not been checked yet";
	return upstream_check_reason(l->check->upstream);
}
