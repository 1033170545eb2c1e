/* SPDX-License-Identifier: MIT */
/* Happy path: a listener whose place was there before keeps its sockets and gets new services; for others sockets are
 * opened. All of it is made before any of it is used, so that applying is a matter of pointers.
 *
 * What can go wrong: see the messages; most take privileges that were given up after the start. */
#include "server/reload_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "base/capability.h"
#include "conf/config.h"
#include "obs/log.h"
#include "server/admin.h"
#include "server/listener_check.h"
#include "server/server_private.h"
#include "server/worker_update.h"
#include "session/transparent.h"

/* --- what there is to do --- */

/* By its place, not its name or number: two listeners may swap theirs. */
static struct server_listener *find_running(const struct server *s,
					    const struct listener_config *config)
{
	for (size_t i = 0; i < s->listener_count; i++)
		if (listener_config_same_socket(s->listeners[i]->config, config))
			return s->listeners[i];
	return NULL;
}

static bool stays(const struct reload_plan *p, const struct server_listener *running)
{
	for (size_t i = 0; i < p->config->listener_count; i++)
		if (p->listeners[i].listener == running)
			return true;
	return false;
}

/* Those that take no lookup. */
static void find_addresses(struct reload_listener *l, uv_loop_t *loop)
{
	for (int i = 0; i < 2; i++) {
		const struct endpoint *upstream = &l->config->upstream[i];
		int rv = 0;

		if (l->old != NULL && strcmp(upstream->text, l->old->upstream[i].text) == 0)
			l->addresses[i] = l->listener->addresses[i];
		else if (upstream->kind != ENDPOINT_NAME)
			rv = upstream_addresses_find(upstream, loop, &l->addresses[i]);
		assert(rv == 0); /* there is nothing to ask */
	}
}

struct reload_plan *reload_plan_create(struct server *s, struct config *config)
{
	struct reload_plan *p;

	p = calloc(1, sizeof *p + config->listener_count * sizeof p->listeners[0]);
	if (p == NULL)
		return NULL;
	p->updates = calloc(s->worker_count, sizeof(*p->updates));
	p->running = calloc(config->listener_count, sizeof(*p->running));
	if (p->updates == NULL || p->running == NULL) {
		free(p->updates);
		free(p->running);
		free(p);
		return NULL;
	}
	p->server = s;
	p->old = config_ref(s->config);
	p->config = config_ref(config);
	for (size_t i = 0; i < config->listener_count; i++) {
		struct reload_listener *l = &p->listeners[i];

		l->config = &config->listeners[i];
		l->listener = find_running(s, l->config);
		l->old = l->listener != NULL ? l->listener->config : NULL;
		find_addresses(l, &s->loop);
		p->kept += l->old != NULL;
	}
	p->added = config->listener_count - p->kept;
	p->removed = s->listener_count - p->kept;
	return p;
}

/* --- what may fail --- */

static bool overlap(const struct endpoint *a, const struct endpoint *b)
{
	return a->kind == ENDPOINT_IP && b->kind == ENDPOINT_IP && a->ip.port == b->ip.port &&
	       (address_same_ip(&a->ip, &b->ip) || address_is_unspecified(&a->ip) ||
		address_is_unspecified(&b->ip));
}

/* One that is to go still has its port. */
static const struct listener_config *find_overlap(const struct server *s, const struct endpoint *e)
{
	for (size_t i = 0; i < s->listener_count; i++)
		if (overlap(&s->listeners[i]->config->listen, e))
			return s->listeners[i]->config;
	return NULL;
}

static void explain_open(const struct reload_plan *p, const struct listener_config *l, int error,
			 struct server_error *reterr)
{
	const struct listener_config *other = find_overlap(p->server, &l->listen);
	size_t used = strlen(reterr->text);

	if (error == -EADDRINUSE && other != NULL)
		snprintf(
		    reterr->text, sizeof reterr->text,
		    "listener \"%s\": cannot listen on %s while listener \"%s\" has that port at "
		    "%s; remove that one by a reload of its own first, or restart",
		    l->name, l->listen.text, other->name, other->listen.text);
	else if (error == -EACCES && l->listen.kind == ENDPOINT_IP)
		snprintf(
		    reterr->text + used, sizeof reterr->text - used,
		    ", which is given up once started: restart, let systemd open the socket, or "
		    "lower net.ipv4.ip_unprivileged_port_start");
}

static int open_listener(struct reload_plan *p, struct reload_listener *l,
			 struct server_error *reterr)
{
	unsigned workers = p->server->workers_wanted;
	int rv;

	l->listener = server_listener_create(l->config, workers);
	if (l->listener == NULL)
		return -ENOMEM;
	memcpy(l->listener->addresses, l->addresses, sizeof l->addresses);
	rv = server_listener_open(l->listener, workers, reterr);
	if (rv != 0)
		explain_open(p, l->config, rv, reterr);
	return rv;
}

/* Has it what it was last probed with? */
static bool is_probed(const struct reload_plan *p, const struct reload_listener *l)
{
	return l->old != NULL && l->old->transparent &&
	       p->old->transparent_mark == p->config->transparent_mark &&
	       p->old->transparent_table == p->config->transparent_table &&
	       strcmp(l->old->upstream[0].text, l->config->upstream[0].text) == 0 &&
	       strcmp(l->old->upstream[1].text, l->config->upstream[1].text) == 0;
}

static int probe_listener(struct reload_plan *p, const struct reload_listener *l,
			  struct server_error *reterr)
{
	if (!l->config->transparent || is_probed(p, l))
		return 0;
	if (p->server->transparent == NULL && !(capability_permitted() & CAPABILITY(CAP_NET_RAW))) {
		snprintf(
		    reterr->text, sizeof reterr->text,
		    "listener \"%s\": transparent mode takes the capability CAP_NET_RAW, which "
		    "is given up at the start if no listener is transparent; restart to apply",
		    l->config->name);
		return -EPERM;
	}
	return server_listener_probe(p->config, l->config, l->addresses, reterr);
}

static int prepare_listener(struct reload_plan *p, struct reload_listener *l,
			    struct server_error *reterr)
{
	int rv = probe_listener(p, l, reterr);

	return rv == 0 && l->old == NULL ? open_listener(p, l, reterr) : rv;
}

static int make_services(struct reload_plan *p)
{
	int rv = 0;

	if (config_is_transparent(p->config))
		rv = transparent_create(p->config, &p->transparent);
	for (size_t i = 0; rv == 0 && i < p->config->listener_count; i++) {
		const struct reload_listener *l = &p->listeners[i];

		rv = server_listener_make_services(l->listener, p->config, i, l->addresses,
						   p->transparent, p->server->workers_wanted);
		if (rv == 0 && l->old == NULL)
			rv = server_listener_make_listeners(l->listener);
	}
	return rv;
}

/* Room for a change of every socket, whosever it is. */
static int make_updates(struct reload_plan *p)
{
	const struct server *s = p->server;
	size_t sockets = 0;

	for (size_t i = 0; i < s->listener_count; i++)
		sockets += s->listeners[i]->socket_count;
	for (size_t i = 0; i < p->config->listener_count; i++)
		if (p->listeners[i].old == NULL)
			sockets += p->listeners[i].listener->socket_count;
	for (unsigned i = 0; i < s->worker_count; i++) {
		p->updates[i] = worker_update_create(s->workers[i], sockets);
		if (p->updates[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

/* Last, for it is done at once. */
static int configure_log(const struct reload_plan *p, struct server_error *reterr)
{
	const struct config *c = p->config;
	int rv = log_configure(p->server->log, c->log_output, (enum log_format)c->log_format,
			       (enum log_level)c->log_level);

	if (rv != 0)
		snprintf(reterr->text, sizeof reterr->text,
			 "log.output: %s: %s; make it writable, or change it", c->log_output,
			 strerror(-rv));
	return rv;
}

int reload_plan_prepare(struct reload_plan *p, struct server_error *reterr)
{
	int rv = 0;

	reterr->text[0] = '\0';
	for (size_t i = 0; rv == 0 && i < p->config->listener_count; i++)
		rv = prepare_listener(p, &p->listeners[i], reterr);
	if (rv == 0)
		rv = make_services(p);
	if (rv == 0)
		rv = make_updates(p);
	if (rv == 0)
		rv = admin_prepare(p->server->admin, p->config, reterr);
	if (rv == 0)
		rv = configure_log(p, reterr);
	if (rv != 0 && reterr->text[0] == '\0')
		snprintf(reterr->text, sizeof reterr->text, "%s", uv_strerror(rv));
	return rv;
}

/* --- what may not --- */

/* The same change of each socket of @l. */
static void change_sockets(struct reload_plan *p, struct server_listener *l,
			   enum worker_change_kind kind)
{
	for (unsigned i = 0; i < l->socket_count; i++) {
		struct server_socket *socket = &l->sockets[i];
		const struct worker_change change = { kind, socket->listener, socket->service };

		worker_update_append(p->updates[i % p->server->worker_count], &change);
		socket->service = NULL;
	}
}

static void remove_listener(struct reload_plan *p, struct server_listener *l)
{
	listener_check_stop(l);
	server_listener_unlink(l);
	change_sockets(p, l, WORKER_REMOVE_LISTENER);
	server_listener_destroy(l);
}

static void apply_listener(struct reload_plan *p, const struct reload_listener *new)
{
	struct server_listener *l = new->listener;

	l->config = new->config;
	memcpy(l->addresses, new->addresses, sizeof l->addresses);
	change_sockets(p, l, new->old != NULL ? WORKER_SET_SERVICE : WORKER_ADD_LISTENER);
	l->given = true;
}

void reload_plan_apply(struct reload_plan *p)
{
	struct server *s = p->server;

	for (size_t i = 0; i < s->listener_count; i++)
		if (!stays(p, s->listeners[i]))
			remove_listener(p, s->listeners[i]);
	for (size_t i = 0; i < p->config->listener_count; i++) {
		apply_listener(p, &p->listeners[i]);
		p->running[i] = p->listeners[i].listener;
	}
	free(s->listeners);
	s->listeners = p->running;
	s->listener_count = p->config->listener_count;
	p->running = NULL;
	transparent_unref(s->transparent);
	s->transparent = p->transparent;
	p->transparent = NULL;
	config_unref(s->config);
	s->config = config_ref(p->config);
	admin_apply(s->admin);
	server_set_limits(s);
}

/* --- words --- */

static void log_listener(const struct reload_listener *l, struct log_buffer *log)
{
	if (l->old == NULL)
		server_listener_log(l->listener, log);
	if (server_listener_trusts_all(l->config) &&
	    (l->old == NULL || !server_listener_trusts_all(l->old)))
		server_listener_warn_open(l->listener, log);
	if (l->old != NULL && l->listener->shared->clients != NULL &&
	    l->config->max_tracked_clients != l->old->max_tracked_clients)
		log_message(log, LOG_WARN, "reload",
			    "%s: `max_tracked_clients` takes a restart (or SIGUSR2) to change",
			    l->config->name);
}

void reload_plan_log(const struct reload_plan *p, struct log_buffer *log)
{
	unsigned workers = p->server->workers_wanted;

	if (p->config->workers != p->old->workers && p->config->workers != workers)
		log_message(log, LOG_WARN, "reload",
			    "`workers` takes a restart (or SIGUSR2) to change: %u stay", workers);
	if (strcmp(p->config->user, p->old->user) != 0)
		log_message(log, LOG_WARN, "reload", "`user` takes a restart to change");
	for (size_t i = 0; i < p->config->listener_count; i++)
		log_listener(&p->listeners[i], log);
}

static void undo_listener(const struct reload_listener *l)
{
	if (l->old != NULL)
		server_listener_drop_services(l->listener);
	else if (l->listener != NULL && !l->listener->given)
		server_listener_destroy(l->listener);
}

void reload_plan_destroy(struct reload_plan *p)
{
	if (p == NULL)
		return;
	admin_cancel(p->server->admin);
	for (size_t i = 0; i < p->config->listener_count; i++)
		undo_listener(&p->listeners[i]);
	for (unsigned i = 0; p->updates != NULL && i < p->server->worker_count; i++)
		free(p->updates[i]);
	free(p->updates);
	free(p->running);
	transparent_unref(p->transparent);
	config_unref(p->config);
	config_unref(p->old);
	free(p);
}
