/* SPDX-License-Identifier: MIT */
/* Happy path: worker_create() opens the loop and its parts on the calling thread, worker_start()
 * hands them to a new one. Mail changes its listeners (worker_update.h). worker_post(DRAIN) closes them; when the
 * last session has ended, the handles are closed, the loop runs out, and done_cb reports it.
 *
 * What can go wrong:
 * - Sessions outlast the drain: worker_post(STOP) resets them.
 * - A name is being resolved at the end: the loop waits for the answer, or for its cancellation.
 * - Mail comes while it ends: it is read as long as the loop runs, though nothing may be left that it is about. */
#include "server/worker.h"

#include <errno.h>
#include <stdlib.h>

static void worker_on_env_closed(struct session_env *env)
{
	(void)env; /* the loop runs out by itself */
}

static void worker_stop_listeners(struct worker *w)
{
	LIST_FOR_EACH (at, &w->listeners)
		listener_stop(container_of(at, struct listener, link));
}

/* Events of the last round may have named them until now. */
static void worker_destroy_listeners(struct worker *w)
{
	LIST_FOR_EACH_SAFE (at, &w->listeners)
		listener_destroy(container_of(at, struct listener, link));
}

/* End what is left and let the loop run out. */
static void worker_finish(struct worker *w)
{
	if (w->finishing)
		return;
	w->finishing = true;
	mailbox_close(&w->mailbox); /* before the rest, which late mails may need */
	worker_stop_listeners(w);
	session_env_end_sessions(&w->env, OUTCOME_shutdown);
	session_env_close(&w->env, worker_on_env_closed);
}

static void worker_on_empty(struct session_env *env)
{
	worker_finish(env->data);
}

static void worker_on_drain(struct mail *m)
{
	struct worker *w = container_of(m, struct worker, drain);

	worker_stop_listeners(w);
	w->env.empty_cb = worker_on_empty;
	session_env_reap(&w->env); /* there may be no session even now */
}

static void worker_on_stop(struct mail *m)
{
	worker_finish(container_of(m, struct worker, stop));
}

static void worker_run(void *data)
{
	struct worker *w = data;

	poller_run(&w->env.poller);
	atomic_store(&w->done, true);
	w->done_cb(w->data);
}

static int worker_open(struct worker *w, const struct worker_options *options)
{
	struct session_env_options env = options->env;
	int rv;

	env.data = w;
	rv = uv_loop_init(&w->loop);
	if (rv != 0)
		return rv;
	rv = mailbox_open(&w->mailbox, &w->loop);
	if (rv != 0)
		goto err_after_loop;
	rv = session_env_open(&w->env, &w->loop, &env);
	if (rv != 0)
		goto err_after_mailbox;
	return 0;

err_after_mailbox:
	mailbox_close(&w->mailbox);
	uv_run(&w->loop, UV_RUN_DEFAULT); /* for the close callbacks */
	mailbox_fini(&w->mailbox);
err_after_loop:
	uv_loop_close(&w->loop);
	return rv;
}

int worker_create(const struct worker_options *options, struct worker **ret)
{
	struct worker *w = calloc(1, sizeof *w);
	int rv;

	if (w == NULL)
		return -ENOMEM;
	rv = worker_open(w, options);
	if (rv != 0) {
		free(w);
		return rv;
	}
	list_init(&w->listeners);
	w->done_cb = options->done_cb;
	w->data = options->data;
	*ret = w;
	return 0;
}

void worker_add_listener(struct worker *w, struct listener *l)
{
	listener_attach(l, &w->env);
	list_append(&w->listeners, &l->link);
}

int worker_start(struct worker *w)
{
	int rv;

	LIST_FOR_EACH (at, &w->listeners) {
		rv = listener_start(container_of(at, struct listener, link));
		if (rv != 0)
			return rv;
	}
	rv = uv_thread_create(&w->thread, worker_run, w);
	w->started = rv == 0;
	return rv;
}

void worker_post(struct worker *w, enum worker_phase phase)
{
	bool posted = false;

	if (phase > w->told && phase == WORKER_DRAIN)
		posted = mailbox_post(&w->mailbox, &w->drain, worker_on_drain);
	else if (phase > w->told)
		posted = mailbox_post(&w->mailbox, &w->stop, worker_on_stop);
	(void)posted; /* refused: it has ended already */
	if (phase > w->told)
		w->told = phase;
}

void worker_destroy(struct worker *w)
{
	int rv;

	if (w == NULL)
		return;
	if (w->started) {
		uv_thread_join(&w->thread);
	} else {
		worker_finish(w);
		uv_run(&w->loop, UV_RUN_DEFAULT);
	}
	worker_destroy_listeners(w);
	mailbox_fini(&w->mailbox);
	rv = uv_loop_close(&w->loop);
	assert(rv == 0); /* UV_EBUSY: something of ours was not closed */
	(void)rv;
	free(w);
}
