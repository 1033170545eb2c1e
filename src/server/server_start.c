/* SPDX-License-Identifier: MIT */
/* Happy path: sockets are claimed or opened, while we may; then, with what is left of our rights, transparent mode is tried,
 * and the workers are made, given their listeners, and started.
 *
 * What can go wrong: all of it, and then the server is destroyed. */
#include "server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

#include "conf/config.h"
#include "obs/log.h"
#include "server/admin.h"
#include "server/auto_reload.h"
#include "server/inherited_socket.h"
#include "server/limits.h"
#include "server/listener_check.h"
#include "server/notify.h"
#include "server/server_private.h"
#include "server/watchdog.h"
#include "session/transparent.h"

/* --- sockets --- */

void server_set_limits(struct server *s)
{
	unsigned sockets = admin_descriptors(s->config);
	unsigned limit;
	uint64_t wanted = 0;

	for (size_t i = 0; i < s->listener_count; i++) {
		const struct server_listener *l = s->listeners[i];

		atomic_store(&l->shared->admission.limit, l->config->max_connections);
		wanted += l->config->max_connections;
		sockets += l->socket_count;
	}
	limit = limits_connections(s->fds, s->workers_wanted, sockets);
	atomic_store(&s->process.limit, limit);
	if (wanted > limit)
		log_message(s->log_buffer, LOG_WARN, "start",
			    "max_connections adds up to %llu, but %u open files are enough for %u; "
			    "raise the hard limit (ulimit -Hn, LimitNOFILE=)",
			    (unsigned long long)wanted, s->fds, limit);
}

static bool is_any_port(const struct endpoint *e)
{
	return e->kind == ENDPOINT_IP && e->ip.port == 0;
}

/* What was passed to us is for those who name its port; what they leave is for those who take any. */
static int server_claim(struct server *s, struct inherited_sockets *inherited, bool any_port,
			struct server_error *reterr)
{
	const struct endpoint *admin = &s->config->admin_listen;
	int rv = 0;

	for (size_t i = 0; rv == 0 && i < s->listener_count; i++) {
		struct server_listener *l = s->listeners[i];

		if (is_any_port(&l->config->listen) == any_port)
			rv = server_listener_claim(l, inherited, s->workers_wanted, reterr);
	}
	if (rv == 0 && admin->text != NULL && is_any_port(admin) == any_port)
		rv = admin_claim(s->admin, s->config, inherited, reterr);
	return rv;
}

int server_open_listeners(struct server *s, struct inherited_sockets *inherited,
			  struct server_error *reterr)
{
	int rv = 0;

	if (inherited != NULL)
		rv = server_claim(s, inherited, false, reterr);
	if (inherited != NULL && rv == 0)
		rv = server_claim(s, inherited, true, reterr);
	if (inherited != NULL)
		inherited_sockets_fini(inherited, s->log_buffer);
	if (rv == 0)
		rv = admin_prepare(s->admin, s->config, reterr);
	for (size_t i = 0; rv == 0 && i < s->listener_count; i++) {
		struct server_listener *l = s->listeners[i];

		if (l->socket_count == 0)
			rv = server_listener_open(l, s->workers_wanted, reterr);
	}
	return rv;
}

/* --- workers --- */

static int server_init_transparent(struct server *s, struct server_error *reterr)
{
	int rv = 0;

	if (!config_is_transparent(s->config))
		return 0;
	for (size_t i = 0; rv == 0 && i < s->listener_count; i++) {
		const struct server_listener *l = s->listeners[i];

		if (l->config->transparent)
			rv = server_listener_probe(s->config, l->config, l->addresses, reterr);
	}
	return rv == 0 ? transparent_create(s->config, &s->transparent) : rv;
}

/* What the workers are to be given. */
static int server_make_listeners(struct server *s)
{
	int rv = 0;

	for (size_t i = 0; rv == 0 && i < s->listener_count; i++) {
		struct server_listener *l = s->listeners[i];

		rv = server_listener_make_services(l, s->config, i, l->addresses, s->transparent,
						   s->workers_wanted);
		if (rv == 0)
			rv = server_listener_make_listeners(l);
	}
	return rv;
}

/* Create the next worker. */
static int server_create_worker(struct server *s)
{
	struct worker_options options = {
		.env = {
			.log = log_buffer_create(s->log),
			.process = &s->process,
			.pipes = limits_pipes(s->fds, s->workers_wanted),
			.worker = s->worker_count,
			.workers = s->workers_wanted,
		},
		.done_cb = server_on_worker_done,
		.data = s,
	};
	struct worker *w;
	int rv = options.env.log == NULL ? -ENOMEM : worker_create(&options, &w);

	if (rv == 0)
		s->workers[s->worker_count++] = w;
	return rv;
}

static int server_create_workers(struct server *s)
{
	int rv = 0;

	while (rv == 0 && s->worker_count < s->workers_wanted)
		rv = server_create_worker(s);
	return rv;
}

/* All workers are there, so nothing fails between the first listener and the last. */
static void server_give_listeners(struct server *s)
{
	for (size_t i = 0; i < s->listener_count; i++) {
		struct server_listener *l = s->listeners[i];

		for (unsigned k = 0; k < l->socket_count; k++)
			worker_add_listener(s->workers[k % s->worker_count],
					    l->sockets[k].listener);
		l->given = true;
	}
}

static int server_start_workers(struct server *s)
{
	for (unsigned i = 0; i < s->worker_count; i++) {
		int rv = worker_start(s->workers[i]);

		if (rv != 0)
			return rv;
	}
	return 0;
}

void server_notify_status(const struct server *s)
{
	notify_status("serving: %zu listener%s", s->listener_count,
		      s->listener_count == 1 ? "" : "s");
}

/* We serve. */
static void server_log_start(struct server *s)
{
	log_message(s->log_buffer, LOG_INFO, "start",
		    "unproxy %s: %u worker%s, up to %u connections", UNPROXY_VERSION,
		    s->worker_count, s->worker_count == 1 ? "" : "s", s->process.limit);
	server_notify_status(s);
	for (size_t i = 0; i < s->listener_count; i++) {
		const struct server_listener *l = s->listeners[i];

		server_listener_log(l, s->log_buffer);
		if (server_listener_trusts_all(l->config))
			server_listener_warn_open(l, s->log_buffer);
	}
}

static int server_check_upstreams(struct server *s)
{
	int rv = 0;

	for (size_t i = 0; rv == 0 && i < s->listener_count; i++)
		rv = listener_check_apply(s, s->listeners[i]);
	return rv;
}

int server_start(struct server *s, struct server_error *reterr)
{
	int rv = server_init_transparent(s, reterr);

	if (rv == 0)
		rv = server_make_listeners(s);
	if (rv == 0)
		rv = server_create_workers(s);
	if (rv == 0) {
		server_give_listeners(s);
		rv = server_start_workers(s);
	}
	if (rv == 0)
		rv = server_check_upstreams(s);
	if (rv == 0)
		rv = watchdog_create(s, &s->watchdog);
	if (rv != 0 && reterr->text[0] == '\0')
		snprintf(reterr->text, sizeof reterr->text, "cannot start a worker: %s",
			 uv_strerror(rv));
	if (rv != 0)
		return rv;
	for (size_t i = 0; i < s->listener_count; i++)
		server_listener_take_file(s->listeners[i]);
	server_log_start(s);
	admin_apply(s->admin);
	auto_reload_apply(s);
	return 0;
}
