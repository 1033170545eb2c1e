/* SPDX-License-Identifier: MIT */
/* Happy path: server_open() opens what may take privileges, server_start() starts the workers. The calling
 * thread's loop knows only signals, the end of workers and the shutdown timer; no byte of a client
 * passes it. SIGTERM or SIGINT drains; when every worker is done, server_run() returns.
 *
 * What can go wrong:
 * - A name does not resolve, an address cannot be listened on, a thread cannot be started: say which
 *   and why, close what was opened, start nothing.
 * - Connections outlast shutdown_timeout_ms, or a second signal comes: they are reset. */
#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <uv.h>

#include "base/cidr_set.h"
#include "conf/config.h"
#include "obs/log.h"
#include "server/cpu_count.h"
#include "server/listen_socket.h"
#include "server/transparent_probe.h"
#include "server/worker.h"
#include "session/transparent.h"

/* Descriptors that are not a session's: loops, log, listeners, resolver. */
#define FDS_RESERVED   64
#define FDS_PER_WORKER 16

/* Pipes for splicing: more bulk transfers than this at a time, and some of them are copied. Together they
 * take at most an eighth of the descriptors. */
#define PIPES_PER_WORKER 256

/* How long workers may take to end once they were told to reset everything [ms]. */
#define STUCK_MS 1000

/* A listener, as all workers share it. */
struct server_listener {
	const struct listener_config *config; /* in server.config */
	struct service_shared *shared;        /* a reference */
	struct upstream_addresses addresses[2];
	int *fds;      /* one for each worker, which takes it; then -1 */
	uint16_t port; /* it is bound to */
	bool opened;   /* the fds are */
	bool unlinked; /* its socket file is not ours any more */
};

struct server {
	uv_loop_t loop;
	uv_signal_t signals[4];
	size_t signal_count; /* handles that are open */
	uv_async_t wake;     /* a worker is done, or server_stop() */
	uv_timer_t timer;    /* shutdown_timeout_ms, then STUCK_MS */
	atomic_bool stop_requested;
	bool closing; /* the loop's handles */
	bool stuck;   /* a worker does not end */
	enum worker_phase phase;
	struct config *config; /* a reference */
	struct log *log;       /* borrowed */
	struct log_buffer *log_buffer;
	struct admission process;        /* counts all connections */
	struct transparent *transparent; /* a reference; NULL unless a listener is */
	unsigned pipes_per_worker;
	struct server_listener *listeners;
	size_t listener_count;
	struct worker **workers;
	unsigned worker_count;   /* of created ones */
	unsigned workers_wanted; /* at least 1 */
};

/* --- the end --- */

static void server_post(struct server *s, enum worker_phase phase)
{
	s->phase = phase;
	for (unsigned i = 0; i < s->worker_count; i++)
		if (!atomic_load(&s->workers[i]->done))
			worker_post(s->workers[i], phase);
}

/* Every connection has been reset, so a worker that is still not done waits for the resolver. */
static void server_on_stuck(uv_timer_t *timer)
{
	struct server *s = timer->data;

	log_message(s->log_buffer, LOG_WARN, "stopped",
		    "a name lookup has not ended; not waiting for it");
	s->stuck = true;
	uv_stop(&s->loop);
}

/* Neither start of the timer can fail: the callbacks are not NULL and it is not closing. */
static void server_abort(struct server *s)
{
	server_post(s, WORKER_STOP);
	uv_timer_start(&s->timer, server_on_stuck, STUCK_MS, 0);
}

static void server_on_timeout(uv_timer_t *timer)
{
	struct server *s = timer->data;

	log_message(s->log_buffer, LOG_WARN, "stopping",
		    "resetting the %u connections left after shutdown_timeout_ms",
		    atomic_load(&s->process.active));
	server_abort(s);
}

/* Socket files go at once, for whoever comes after us may want to bind them. */
static void server_unlink_sockets(struct server *s)
{
	for (size_t i = 0; i < s->listener_count; i++) {
		struct server_listener *l = &s->listeners[i];

		if (l->opened && !l->unlinked)
			listen_socket_unlink(&l->config->listen);
		l->unlinked = true;
	}
}

static void server_drain(struct server *s, const char *why)
{
	server_unlink_sockets(s);
	log_message(s->log_buffer, LOG_INFO, "stopping",
		    "%s: accepting no more; %u connections have %u ms to finish", why,
		    atomic_load(&s->process.active), s->config->shutdown_timeout_ms);
	server_post(s, WORKER_DRAIN);
	uv_timer_start(&s->timer, server_on_timeout, s->config->shutdown_timeout_ms, 0);
}

static void server_close_handles(struct server *s)
{
	if (s->closing)
		return;
	s->closing = true;
	for (size_t i = 0; i < s->signal_count; i++)
		uv_close((uv_handle_t *)&s->signals[i], NULL);
	uv_close((uv_handle_t *)&s->wake, NULL);
	uv_close((uv_handle_t *)&s->timer, NULL);
}

static bool server_is_done(const struct server *s)
{
	for (unsigned i = 0; i < s->worker_count; i++)
		if (!atomic_load(&s->workers[i]->done))
			return false;
	return true;
}

static void server_on_wake(uv_async_t *wake)
{
	struct server *s = container_of(wake, struct server, wake);

	if (atomic_load(&s->stop_requested) && s->phase == WORKER_SERVE)
		server_drain(s, "stopped");
	if (s->phase != WORKER_SERVE && server_is_done(s)) {
		log_message(s->log_buffer, LOG_INFO, "stopped", "all connections have ended");
		server_close_handles(s);
	}
}

static void server_on_worker_done(void *data)
{
	struct server *s = data;

	uv_async_send(&s->wake);
}

/* --- signals --- */

static void server_on_signal(uv_signal_t *handle, int number)
{
	struct server *s = handle->data;

	switch (number) {
	case SIGHUP:
		log_message(s->log_buffer, LOG_WARN, "reload",
			    "SIGHUP: this version cannot reload; restart it to apply a changed "
			    "configuration");
		break;
	case SIGUSR1:
		log_reopen(s->log);
		break;
	default: /* SIGTERM, SIGINT */
		if (s->phase == WORKER_SERVE)
			server_drain(s, number == SIGINT ? "SIGINT" : "SIGTERM");
		else
			server_abort(s);
		break;
	}
}

static int server_watch_signals(struct server *s)
{
	static const int numbers[ARRAY_SIZE(s->signals)] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

	signal(SIGPIPE, SIG_IGN); /* EPIPE is handled where it happens */
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		int rv = uv_signal_init(&s->loop, &s->signals[i]);

		if (rv != 0)
			return rv;
		s->signals[i].data = s;
		s->signal_count++;
		rv = uv_signal_start(&s->signals[i], server_on_signal, numbers[i]);
		if (rv != 0)
			return rv;
	}
	return 0;
}

/* --- limits --- */

/* Raise the soft limit on open files to the hard one, and return it. */
static unsigned server_raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit); /* lowering is not it, so it cannot fail */
	return limit.rlim_max < UINT32_MAX ? (unsigned)limit.rlim_max : UINT32_MAX;
}

/* Share the descriptors out: a connection takes two, a pipe takes two. */
static void server_set_limits(struct server *s)
{
	unsigned fds = server_raise_fd_limit();
	unsigned pipes = fds / 16 / s->workers_wanted;
	unsigned reserved = FDS_RESERVED + s->workers_wanted * FDS_PER_WORKER;
	unsigned limit;
	uint64_t wanted = 0;

	s->pipes_per_worker = pipes < PIPES_PER_WORKER ? pipes : PIPES_PER_WORKER;
	reserved += 2 * s->pipes_per_worker * s->workers_wanted;
	limit = fds > 2 * reserved ? (fds - reserved) / 2 : fds / 4;
	s->process.limit = limit > 0 ? limit : 1;
	for (size_t i = 0; i < s->listener_count; i++) {
		const struct server_listener *l = &s->listeners[i];

		atomic_store(&l->shared->admission.limit, l->config->max_connections);
		wanted += l->config->max_connections;
	}
	if (wanted > s->process.limit)
		log_message(s->log_buffer, LOG_WARN, "start",
			    "max_connections adds up to %llu, but %u open files are enough for %u; "
			    "raise the hard limit (ulimit -Hn, LimitNOFILE=)",
			    (unsigned long long)wanted, fds, s->process.limit);
}

/* --- the start --- */

static int server_allocate(struct server *s)
{
	s->workers = calloc(s->workers_wanted, sizeof(*s->workers));
	s->listeners = calloc(s->config->listener_count, sizeof(*s->listeners));
	s->log_buffer = log_buffer_create(s->log);
	if (s->workers == NULL || s->listeners == NULL || s->log_buffer == NULL)
		return -ENOMEM;
	for (; s->listener_count < s->config->listener_count; s->listener_count++) {
		struct server_listener *l = &s->listeners[s->listener_count];

		l->config = &s->config->listeners[s->listener_count];
		l->fds = calloc(s->workers_wanted, sizeof(*l->fds));
		l->shared = service_shared_create(s->workers_wanted);
		if (l->fds == NULL || l->shared == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int server_open_loop(struct server *s)
{
	int rv = uv_loop_init(&s->loop);

	if (rv != 0)
		return rv;
	/* Neither can fail once the loop is there. */
	uv_async_init(&s->loop, &s->wake, server_on_wake);
	uv_timer_init(&s->loop, &s->timer);
	s->timer.data = s;
	rv = server_watch_signals(s);
	if (rv != 0) {
		server_close_handles(s);
		uv_run(&s->loop, UV_RUN_DEFAULT);
		uv_loop_close(&s->loop);
	}
	return rv;
}

static int server_resolve(struct server *s, struct server_listener *l, struct server_error *reterr)
{
	for (int i = 0; i < 2; i++) {
		const struct endpoint *upstream = &l->config->upstream[i];
		int rv = upstream_addresses_find(upstream, &s->loop, &l->addresses[i]);

		if (rv == 0)
			continue;
		snprintf(
		    reterr->text, sizeof reterr->text,
		    "listener \"%s\": cannot resolve upstream %s: %s; check the name, or write an "
		    "address",
		    l->config->name, upstream->text, uv_strerror(rv));
		return rv;
	}
	return 0;
}

static int server_listen(struct server *s, struct server_listener *l, struct server_error *reterr)
{
	char why[LISTEN_SOCKET_ERROR_MAX];
	int rv = listen_sockets_open(&l->config->listen, s->workers_wanted, l->fds, why);

	if (rv != 0) {
		snprintf(reterr->text, sizeof reterr->text, "listener \"%s\": %s", l->config->name,
			 why);
		return rv;
	}
	l->opened = true;
	l->port = listen_socket_port(l->fds[0]);
	return 0;
}

static int server_open_listeners(struct server *s, struct server_error *reterr)
{
	for (size_t i = 0; i < s->listener_count; i++) {
		int rv = server_resolve(s, &s->listeners[i], reterr);

		if (rv == 0)
			rv = server_listen(s, &s->listeners[i], reterr);
		if (rv != 0)
			return rv;
	}
	return 0;
}

/* A transparent listener that cannot reach its application as its clients would only ever time out. */
static int server_probe_transparent(struct server *s, const struct server_listener *l,
				    struct server_error *reterr)
{
	const struct transparent_routing routing = { s->config->transparent_mark,
						     s->config->transparent_table };
	char why[TRANSPARENT_PROBE_ERROR_MAX];

	for (unsigned which = 0; which < ARRAY_SIZE(l->addresses); which++) {
		for (unsigned i = 0; i < l->addresses[which].count; i++) {
			const struct address *a = &l->addresses[which].list[i];
			int rv = 0;

			if (a->family == (which == 0 ? AF_INET : AF_INET6))
				rv = transparent_probe(&routing, a, why);
			if (rv == 0)
				continue;
			snprintf(reterr->text, sizeof reterr->text,
				 "listener \"%s\": transparent mode does not work: %s",
				 l->config->name, why);
			return rv;
		}
	}
	return 0;
}

static int server_init_transparent(struct server *s, struct server_error *reterr)
{
	int rv = 0;

	if (!config_is_transparent(s->config))
		return 0;
	for (size_t i = 0; rv == 0 && i < s->listener_count; i++)
		if (s->listeners[i].config->transparent)
			rv = server_probe_transparent(s, &s->listeners[i], reterr);
	return rv == 0 ? transparent_create(s->config, &s->transparent) : rv;
}

/* Give the worker @w its socket of @l. */
static int server_give_listener(struct server *s, size_t index, struct worker *w)
{
	struct server_listener *l = &s->listeners[index];
	const struct service_options options = {
		.config = s->config,
		.listener = index,
		.shared = l->shared,
		.transparent = s->transparent,
		.addresses = l->addresses,
		.worker = s->worker_count,
	};
	struct session_service *service;
	struct listener *listener;
	int rv = service_create(&options, &service);

	if (rv != 0)
		return rv;
	listener = listener_create(l->fds[s->worker_count], service);
	if (listener == NULL) {
		service_unref(service);
		return -ENOMEM;
	}
	l->fds[s->worker_count] = -1;
	worker_add_listener(w, listener);
	return 0;
}

/* Create the next worker. */
static int server_create_worker(struct server *s)
{
	struct worker_options options = {
		.env = {
			.log = log_buffer_create(s->log),
			.process = &s->process,
			.pipes = s->pipes_per_worker,
			.worker = s->worker_count,
			.workers = s->workers_wanted,
		},
		.done_cb = server_on_worker_done,
		.data = s,
	};
	struct worker *w;
	int rv = options.env.log == NULL ? -ENOMEM : worker_create(&options, &w);

	for (size_t i = 0; rv == 0 && i < s->listener_count; i++) {
		rv = server_give_listener(s, i, w);
		if (rv != 0)
			worker_destroy(w);
	}
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

static int server_start_workers(struct server *s)
{
	for (unsigned i = 0; i < s->worker_count; i++) {
		int rv = worker_start(s->workers[i]);

		if (rv != 0)
			return rv;
	}
	return 0;
}

static void server_log_listener(struct server *s, const struct server_listener *l)
{
	const struct listener_config *config = l->config;
	struct address a = config->listen.ip;
	char text[ADDRESS_TEXT_MAX];

	a.port = l->port;
	address_format(&a, text);
	log_message(s->log_buffer, LOG_INFO, "listening", "%s: listening on %s, upstream %s%s%s",
		    config->name, config->listen.kind == ENDPOINT_UNIX ? config->listen.text : text,
		    config->upstream[0].text, config->upstream_is_pair ? " and " : "",
		    config->upstream_is_pair ? config->upstream[1].text : "");
	if (cidr_set_is_open(config->trusted, AF_INET) ||
	    cidr_set_is_open(config->trusted, AF_INET6))
		log_message(
		    s->log_buffer, LOG_WARN, "open_trust",
		    "%s: trusted_proxies admits every address: anyone who reaches this port "
		    "can forge client addresses; list the load balancer's networks",
		    config->name);
}

int server_start(struct server *s, struct server_error *reterr)
{
	int rv = server_init_transparent(s, reterr);

	if (rv == 0)
		rv = server_create_workers(s);
	if (rv == 0)
		rv = server_start_workers(s);
	if (rv != 0 && reterr->text[0] == '\0')
		snprintf(reterr->text, sizeof reterr->text, "cannot start a worker: %s",
			 uv_strerror(rv));
	if (rv != 0)
		return rv;
	log_message(s->log_buffer, LOG_INFO, "start",
		    "unproxy %s: %u worker%s, up to %u connections", UNPROXY_VERSION,
		    s->worker_count, s->worker_count == 1 ? "" : "s", s->process.limit);
	for (size_t i = 0; i < s->listener_count; i++)
		server_log_listener(s, &s->listeners[i]);
	return 0;
}

static void server_free(struct server *s)
{
	for (size_t i = 0; i < s->listener_count; i++) {
		struct server_listener *l = &s->listeners[i];

		for (unsigned w = 0; l->opened && w < s->workers_wanted; w++)
			if (l->fds[w] >= 0) /* no worker took it */
				close(l->fds[w]);
		service_shared_unref(l->shared);
		free(l->fds);
	}
	transparent_unref(s->transparent);
	free(s->listeners);
	free(s->workers);
	config_unref(s->config);
	free(s);
}

int server_open(struct config *config, struct log *log, struct server **ret,
		struct server_error *reterr)
{
	struct server *s = calloc(1, sizeof *s);
	int rv;

	snprintf(reterr->text, sizeof reterr->text, "cannot start: %s", strerror(ENOMEM));
	if (s == NULL)
		return -ENOMEM;
	s->config = config_ref(config);
	s->log = log;
	s->workers_wanted = config->workers > 0 ? config->workers : cpu_count();
	rv = server_allocate(s);
	if (rv == 0)
		rv = server_open_loop(s);
	if (rv != 0) {
		snprintf(reterr->text, sizeof reterr->text, "cannot start: %s", strerror(-rv));
		server_free(s);
		return rv;
	}
	reterr->text[0] = '\0';
	server_set_limits(s);
	rv = server_open_listeners(s, reterr);
	if (rv != 0) {
		server_destroy(s);
		return rv;
	}
	*ret = s;
	return 0;
}

int server_create(struct config *config, struct log *log, struct server **ret,
		  struct server_error *reterr)
{
	struct server *s;
	int rv = server_open(config, log, &s, reterr);

	if (rv != 0)
		return rv;
	rv = server_start(s, reterr);
	if (rv != 0)
		server_destroy(s);
	else
		*ret = s;
	return rv;
}

unsigned server_port(const struct server *s, unsigned index)
{
	assert(index < s->listener_count);
	return s->listeners[index].port;
}

bool server_run(struct server *s)
{
	uv_run(&s->loop, UV_RUN_DEFAULT);
	return !s->stuck;
}

void server_stop(struct server *s)
{
	atomic_store(&s->stop_requested, true);
	uv_async_send(&s->wake);
}

void server_destroy(struct server *s)
{
	if (s == NULL)
		return;
	server_post(s, WORKER_STOP);
	for (unsigned i = 0; i < s->worker_count; i++)
		worker_destroy(s->workers[i]);
	server_unlink_sockets(s);
	server_close_handles(s);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_loop_close(&s->loop);
	server_free(s);
}
