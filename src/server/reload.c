/* SPDX-License-Identifier: MIT */
/* Happy path:
 * - Load, and work out what has changed (reload_plan.c).
 * - Look up names of upstreams that are new, in the background: this thread has signals and requests to answer.
 *   A name that was there before is not asked for again, so that a changed trust list does not depend on a resolver;
 *   the workers do that when connecting fails.
 * - Prepare, apply, and post the changes to the workers, which cannot fail.
 * - All workers have answered: what is accepted from now on is for the new configuration.
 *
 * What can go wrong:
 * - Anything before the changes are posted: what was done is undone, and one line in the log says why.
 * - The server is told to stop while names are looked up: the reload is given up. */
#include "server/reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "conf/config.h"
#include "obs/log.h"
#include "server/auto_reload.h"
#include "server/listener_check.h"
#include "server/notify.h"
#include "server/reload_plan.h"
#include "server/server_private.h"
#include "server/upgrade.h"
#include "server/worker_update.h"

/* A name that is looked up. */
struct reload_lookup {
	struct reload *reload;
	struct reload_listener *listener; /* of the plan */
	int which;                        /* of its upstreams */
	struct upstream upstream;
};

struct reload {
	struct server *server;
	const char *why; /* static text */
	struct reload_plan *plan;
	struct reload_lookup *lookups;
	size_t lookup_count;
	size_t lookups_left; /* that have no answer */
	size_t workers_left; /* that have not made the changes */
	bool cancelled;
	struct server_error error; /* what went wrong first; empty: nothing */
};

/* --- the end --- */

static void reload_report_failure(struct server *s, const char *why, const char *text)
{
	s->reloads.failed++;
	s->reloads.last_succeeded = false;
	log_message(s->log_buffer, LOG_ERROR, "reload", "%s: %s; the running configuration stays",
		    why, text);
	notify_status("%s: %s; the running configuration stays", why, text);
}

static void reload_report_success(const struct reload *r)
{
	struct server *s = r->server;

	s->reloads.succeeded++;
	s->reloads.last_succeeded = true;
	reload_plan_log(r->plan, s->log_buffer);
	log_message(s->log_buffer, LOG_INFO, "reload",
		    "%s: %zu listener%s kept, %zu added, %zu removed", r->why, r->plan->kept,
		    r->plan->kept == 1 ? "" : "s", r->plan->added, r->plan->removed);
	server_notify_status(s);
}

/* In whatever way; what has not been applied is undone. */
static void reload_end(struct reload *r)
{
	struct server *s = r->server;
	const char *again = s->reload_again;

	reload_plan_destroy(r->plan);
	free(r->lookups);
	free(r);
	s->reload = NULL;
	s->reload_again = NULL;
	if (s->phase == WORKER_SERVE)
		notify_ready();
	if (s->phase == WORKER_SERVE && again != NULL)
		reload_start(s, again);
	else if (s->phase != WORKER_SERVE && !s->closing)
		uv_async_send(&s->wake); /* the end may be waiting for us */
	if (s->upgrade_again && s->reload == NULL) {
		s->upgrade_again = false;
		upgrade_start(s);
	}
}

static void reload_fail(struct reload *r)
{
	reload_report_failure(r->server, r->why, r->error.text);
	reload_end(r);
}

/* --- the workers --- */

static void reload_on_answer(struct mail *m)
{
	struct worker_update *u = container_of(m, struct worker_update, mail);
	struct reload *r = u->data;

	free(u);
	if (--r->workers_left > 0)
		return;
	reload_report_success(r);
	reload_end(r);
}

/* On the worker's thread. */
static void reload_on_applied(struct worker_update *u)
{
	const struct reload *r = u->data;
	bool posted = mailbox_post(&r->server->mailbox, &u->mail, reload_on_answer);

	assert(posted); /* the main thread joins its workers before it closes the mailbox */
	(void)posted;
}

static void reload_post(struct reload *r)
{
	struct server *s = r->server;

	r->workers_left = s->worker_count;
	for (unsigned i = 0; i < s->worker_count; i++) {
		struct worker_update *u = r->plan->updates[i];

		r->plan->updates[i] = NULL;
		u->applied_cb = reload_on_applied;
		u->data = r;
		worker_update_post(u);
	}
}

/* This is not worth an end. */
static void reload_check_upstreams(struct server *s)
{
	for (size_t i = 0; i < s->listener_count; i++)
		if (listener_check_apply(s, s->listeners[i]) != 0)
			log_message(s->log_buffer, LOG_ERROR, "upstream",
				    "%s: out of memory: its upstream is not checked any more",
				    s->listeners[i]->config->name);
}

/* --- names --- */

/* All addresses are known, or never will be. */
static void reload_go_on(struct reload *r)
{
	if (r->cancelled) {
		log_message(r->server->log_buffer, LOG_INFO, "reload", "%s: given up", r->why);
		reload_end(r);
	} else if (r->error.text[0] != '\0' || reload_plan_prepare(r->plan, &r->error) != 0) {
		reload_fail(r);
	} else {
		reload_plan_apply(r->plan);
		reload_post(r);
		reload_check_upstreams(r->server);
		auto_reload_apply(r->server);
	}
}

/* Their answers come all the same. */
static void reload_stop_lookups(struct reload *r)
{
	for (size_t i = 0; i < r->lookup_count; i++)
		upstream_stop(&r->lookups[i].upstream);
}

static void reload_lookup_failed(struct reload_lookup *l, int error)
{
	struct reload *r = l->reload;

	if (r->error.text[0] != '\0')
		return;
	snprintf(r->error.text, sizeof r->error.text,
		 "listener \"%s\": cannot resolve upstream %s: %s; check the name, or write an "
		 "address",
		 l->listener->config->name, l->upstream.endpoint->text, uv_strerror(error));
	reload_stop_lookups(r);
}

static void reload_on_resolved(struct upstream *u, int status)
{
	struct reload_lookup *l = u->data;
	struct reload *r = l->reload;

	if (status == 0 && u->addresses.count == 0)
		status = UV_EAI_NODATA;
	if (status == 0)
		l->listener->addresses[l->which] = u->addresses;
	else
		reload_lookup_failed(l, status);
	if (--r->lookups_left == 0)
		reload_go_on(r);
}

static bool reload_is_unknown(const struct reload_plan *p, size_t listener, int which)
{
	return p->listeners[listener].addresses[which].count == 0;
}

static size_t reload_count_unknown(const struct reload_plan *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->config->listener_count; i++)
		for (int which = 0; which < 2; which++)
			n += reload_is_unknown(p, i, which);
	return n;
}

/* Returns 0 or -ENOMEM. */
static int reload_make_lookups(struct reload *r)
{
	static const struct upstream_addresses none;
	struct reload_plan *p = r->plan;
	size_t count = reload_count_unknown(p);

	r->lookups = calloc(count + 1, sizeof(*r->lookups));
	if (r->lookups == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->config->listener_count; i++) {
		for (int which = 0; which < 2; which++) {
			struct reload_lookup *l = &r->lookups[r->lookup_count];

			if (!reload_is_unknown(p, i, which))
				continue;
			l->reload = r;
			l->listener = &p->listeners[i];
			l->which = which;
			upstream_init(&l->upstream, &l->listener->config->upstream[which], &none,
				      l);
			r->lookup_count++;
		}
	}
	return 0;
}

/* Returns whether there is something to wait for. */
static bool reload_look_up(struct reload *r)
{
	for (size_t i = 0; i < r->lookup_count && r->error.text[0] == '\0'; i++) {
		struct reload_lookup *l = &r->lookups[i];
		int rv = upstream_resolve(&l->upstream, &r->server->loop, reload_on_resolved);

		if (rv == 0)
			r->lookups_left++;
		else
			reload_lookup_failed(l, rv);
	}
	return r->lookups_left > 0;
}

/* --- the start --- */

/* Takes the reference @config. */
static struct reload *reload_create(struct server *s, const char *why, struct config *config)
{
	struct reload *r = calloc(1, sizeof *r);

	if (r != NULL) {
		r->server = s;
		r->why = why;
		r->plan = reload_plan_create(s, config);
	}
	config_unref(config);
	if (r != NULL && (r->plan == NULL || reload_make_lookups(r) != 0)) {
		reload_plan_destroy(r->plan);
		free(r);
		r = NULL;
	}
	return r;
}

/* Before anything was begun. */
static void reload_refuse(struct server *s, const char *why, const char *text)
{
	reload_report_failure(s, why, text);
	notify_ready();
}

void reload_start(struct server *s, const char *why)
{
	struct config *config;
	struct server_error error;

	if (s->phase != WORKER_SERVE) {
		log_message(s->log_buffer, LOG_WARN, "reload", "%s: ignored, for we are to stop",
			    why);
		return;
	}
	if (s->reload != NULL || s->handover != NULL) {
		s->reload_again = why;
		return;
	}
	notify_reloading();
	if (s->loader.load == NULL) {
		reload_refuse(s, why, "there is nothing to load again");
		return;
	}
	if (s->loader.load(s->loader.data, &config, &error) != 0) {
		reload_refuse(s, why, error.text);
		return;
	}
	s->reload = reload_create(s, why, config);
	if (s->reload == NULL)
		reload_refuse(s, why, strerror(ENOMEM));
	else if (!reload_look_up(s->reload))
		reload_go_on(s->reload);
}

void reload_cancel(struct server *s)
{
	if (s->reload == NULL)
		return;
	s->reload->cancelled = true;
	reload_stop_lookups(s->reload);
}
