/* SPDX-License-Identifier: MIT */
/* Happy path: server_open() opens what may take privileges, server_start() (server_start.c) starts the workers. The calling
 * thread's loop knows only signals, the end of workers and the shutdown timer; no byte of a client
 * passes it. SIGTERM or SIGINT drains; when every worker is done, server_run() returns.
 *
 * What can go wrong:
 * - The resolver does not answer: SIGTERM and SIGINT do not wait for it.
 * - A name does not resolve, an address cannot be listened on, a thread cannot be started: say which
 *   and why, close what was opened, start nothing.
 * - Connections outlast shutdown_timeout_ms, or a second signal comes: they are reset. */
#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "conf/config.h"
#include "obs/log.h"
#include "server/admin.h"
#include "server/auto_reload.h"
#include "server/cpu_count.h"
#include "server/limits.h"
#include "server/listener_check.h"
#include "server/notify.h"
#include "server/server_private.h"
#include "server/upgrade.h"
#include "server/watchdog.h"
#include "session/transparent.h"

/* How long workers may take to end once they were told to reset everything [ms]. */
#define STUCK_MS 1000

/* --- the end --- */

static void server_post(struct server *s, enum worker_phase phase)
{
	s->phase = phase;
	for (unsigned i = 0; i < s->worker_count; i++)
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

static bool server_is_done(const struct server *s)
{
	for (unsigned i = 0; i < s->worker_count; i++)
		if (!atomic_load(&s->workers[i]->done))
			return false;
	return true;
}

/* Socket files go at once, for whoever comes after us may want to bind them. */
static void server_unlink_sockets(struct server *s)
{
	for (size_t i = 0; i < s->listener_count; i++)
		server_listener_unlink(s->listeners[i]);
}

static void server_stop_checks(struct server *s)
{
	for (size_t i = 0; i < s->listener_count; i++)
		listener_check_stop(s->listeners[i]);
}

void server_drain(struct server *s, const char *why)
{
	if (!s->handed_over) {
		notify_stopping();
		for (size_t i = 0; i < s->listener_count; i++)
			listener_check_let_go(s, s->listeners[i]);
	}
	upgrade_cancel(s);
	auto_reload_stop(s);
	reload_cancel(s);
	server_stop_checks(s);
	server_unlink_sockets(s);
	log_message(s->log_buffer, LOG_INFO, "stopping",
		    "%s: accepting no more; %u connections have %u ms to finish", why,
		    atomic_load(&s->process.active), s->config->shutdown_timeout_ms);
	server_post(s, WORKER_DRAIN);
	uv_timer_start(&s->timer, server_on_timeout, s->config->shutdown_timeout_ms, 0);
}

/* SIGTERM and SIGINT are for an end that takes too long. Of the others none is a reason to die before the log is written. */
static void server_watch_no_signals(struct server *s)
{
	for (size_t i = 0; i < s->signal_count; i++) {
		int number = s->signals[i].signum;

		uv_close((uv_handle_t *)&s->signals[i], NULL);
		if (number != 0 && number != SIGTERM && number != SIGINT)
			signal(number, SIG_IGN);
	}
}

static void server_close_handles(struct server *s)
{
	if (s->closing)
		return;
	s->closing = true;
	upgrade_cancel(s);
	auto_reload_stop(s);
	server_stop_checks(s);
	watchdog_stop(s->watchdog);
	server_watch_no_signals(s);
	uv_close((uv_handle_t *)&s->wake, NULL);
	/* What is left is a question to the resolver; for that the loop waits no longer. */
	uv_timer_start(&s->timer, server_on_stuck, STUCK_MS, 0);
	uv_unref((uv_handle_t *)&s->timer);
	admin_close(s->admin);
	mailbox_close(&s->mailbox);
}

static void server_close_loop(struct server *s)
{
	server_close_handles(s);
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	mailbox_fini(&s->mailbox);
	uv_loop_close(&s->loop);
}

static void server_on_wake(uv_async_t *wake)
{
	struct server *s = container_of(wake, struct server, wake);

	if (atomic_load(&s->stop_requested) && s->phase == WORKER_SERVE)
		server_drain(s, "stopped");
	if (s->phase == WORKER_SERVE || !server_is_done(s))
		return;
	if (s->reload == NULL) {
		log_message(s->log_buffer, LOG_INFO, "stopped", "all connections have ended");
		server_close_handles(s);
	} else { /* it waits for the resolver, too */
		uv_timer_start(&s->timer, server_on_stuck, STUCK_MS, 0);
	}
}

void server_on_worker_done(void *data)
{
	struct server *s = data;

	uv_async_send(&s->wake);
}

/* --- signals --- */

/* Who has handed over drains already, so the first one finds nothing to do. */
static void server_on_end_signal(struct server *s, const char *name)
{
	if (s->phase == WORKER_SERVE) {
		server_drain(s, name);
	} else if (s->handed_over && !s->told_to_end) {
		s->told_to_end = true;
		log_message(s->log_buffer, LOG_INFO, "stopping",
			    "%s: connections are finishing already; once more resets them", name);
	} else {
		server_abort(s);
	}
}

static void server_on_signal(uv_signal_t *handle, int number)
{
	struct server *s = handle->data;

	switch (number) {
	case SIGHUP:
		reload_start(s, "SIGHUP");
		break;
	case SIGUSR1:
		log_reopen(s->log);
		break;
	case SIGUSR2:
		upgrade_start(s);
		break;
	default:
		server_on_end_signal(s, number == SIGINT ? "SIGINT" : "SIGTERM");
		break;
	}
}

static int server_watch_signals(struct server *s, const int *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uv_signal_t *handle = &s->signals[s->signal_count];
		int rv = uv_signal_init(&s->loop, handle);

		if (rv != 0)
			return rv;
		handle->data = s;
		s->signal_count++;
		rv = uv_signal_start(handle, server_on_signal, numbers[i]);
		if (rv != 0)
			return rv;
	}
	return 0;
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
		struct server_listener *l = server_listener_create(
		    &s->config->listeners[s->listener_count], s->workers_wanted);

		if (l == NULL)
			return -ENOMEM;
		s->listeners[s->listener_count] = l;
	}
	return 0;
}

static int server_open_loop(struct server *s)
{
	static const int numbers[] = { SIGHUP, SIGUSR1, SIGUSR2 };
	int rv = uv_loop_init(&s->loop);

	if (rv != 0)
		return rv;
	rv = mailbox_open(&s->mailbox, &s->loop);
	if (rv != 0) {
		uv_loop_close(&s->loop);
		return rv;
	}
	/* Neither can fail once the loop is there. */
	uv_async_init(&s->loop, &s->wake, server_on_wake);
	uv_timer_init(&s->loop, &s->timer);
	s->timer.data = s;
	signal(SIGPIPE, SIG_IGN); /* EPIPE is handled where it happens */
	rv = server_watch_signals(s, numbers, ARRAY_SIZE(numbers));
	if (rv == 0)
		rv = admin_create(s, &s->admin);
	if (rv != 0)
		server_close_loop(s);
	return rv;
}

static void server_end_at_once(int number)
{
	(void)number;
	_exit(EXIT_SUCCESS);
}

/* Wait for the resolver, for as long as it takes: an end comes first, for nothing is open that it would have to close. */
static int server_resolve(struct server *s, struct server_error *reterr)
{
	static const int numbers[] = { SIGTERM, SIGINT };
	int rv = 0;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		signal(numbers[i], server_end_at_once);
	for (size_t i = 0; rv == 0 && i < s->listener_count; i++)
		rv = server_listener_resolve(s->listeners[i], &s->loop, reterr);
	if (rv == 0)
		return server_watch_signals(s, numbers, ARRAY_SIZE(numbers));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		signal(numbers[i], SIG_DFL);
	return rv;
}

static void server_free(struct server *s)
{
	admin_destroy(s->admin);
	watchdog_destroy(s->watchdog);
	for (size_t i = 0; i < s->listener_count; i++)
		server_listener_destroy(s->listeners[i]);
	transparent_unref(s->transparent);
	free(s->listeners);
	free(s->workers);
	config_unref(s->config);
	free(s);
}

int server_open(const struct server_options *options, struct server **ret,
		struct server_error *reterr)
{
	struct server *s = calloc(1, sizeof *s);
	int rv;

	snprintf(reterr->text, sizeof reterr->text, "cannot start: %s", strerror(ENOMEM));
	if (s == NULL)
		return -ENOMEM;
	s->config = config_ref(options->config);
	s->log = options->log;
	s->loader = options->loader;
	s->program = options->program;
	s->no_upgrade = options->no_upgrade;
	s->reloads.last_succeeded = true;
	s->workers_wanted = s->config->workers > 0 ? s->config->workers : cpu_count();
	rv = server_allocate(s);
	if (rv == 0)
		rv = server_open_loop(s);
	if (rv != 0) {
		snprintf(reterr->text, sizeof reterr->text, "cannot start: %s", strerror(-rv));
		server_free(s);
		return rv;
	}
	reterr->text[0] = '\0';
	s->fds = limits_raise_fds();
	rv = server_resolve(s, reterr);
	if (rv == 0)
		rv = server_open_listeners(s, options->inherited, reterr);
	if (rv != 0) {
		if (reterr->text[0] == '\0')
			snprintf(reterr->text, sizeof reterr->text, "cannot start: %s",
				 strerror(-rv));
		server_destroy(s);
		return rv;
	}
	server_set_limits(s);
	*ret = s;
	return 0;
}

int server_create(const struct server_options *options, struct server **ret,
		  struct server_error *reterr)
{
	struct server *s;
	int rv = server_open(options, &s, reterr);

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
	return s->listeners[index]->port;
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
	reload_cancel(s);
	server_post(s, WORKER_STOP);
	for (unsigned i = 0; i < s->worker_count; i++)
		worker_destroy(s->workers[i]);
	server_unlink_sockets(s);
	server_close_loop(s);
	server_free(s);
}
