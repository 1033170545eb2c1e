/* SPDX-License-Identifier: MIT */
#include "session/session_env.h"

#include <errno.h>
#include <stdlib.h>

#include "session/session.h"

/* A full backlog of a unix socket is asked again after this [ms]. */
#define RETRY_MS 10

static void session_env_on_round(struct poller *p)
{
	session_env_reap(container_of(p, struct session_env, poller));
}

static void session_env_on_deadlines(struct deadlines *all)
{
	session_env_reap(container_of(all, struct session_env, deadlines));
}

int session_env_open(struct session_env *env, uv_loop_t *loop,
		     const struct session_env_options *options)
{
	int rv;

	env->relay.scratch = malloc(SESSION_SCRATCH_SIZE);
	if (env->relay.scratch == NULL)
		return -ENOMEM;
	rv = deadlines_init(&env->deadlines, loop);
	assert(rv == 0); /* uv_timer_init() cannot fail */
	rv = poller_open(&env->poller, loop);
	if (rv != 0) {
		deadlines_close(&env->deadlines, NULL);
		free(env->relay.scratch);
		return rv;
	}
	env->poller.after_cb = session_env_on_round;
	env->deadlines.after_cb = session_env_on_deadlines;
	deadline_queue_init(&env->retry, &env->deadlines, RETRY_MS, session_on_retry);
	relay_pipes_init(&env->relay.pipes, options->pipes);
	env->loop = loop;
	env->log = options->log;
	env->process = options->process;
	env->next_id = options->worker + 1;
	env->id_step = options->workers;
	list_init(&env->sessions);
	list_init(&env->closed);
	env->count = 0;
	env->empty_cb = NULL;
	env->data = options->data;
	return 0;
}

static void session_env_on_deadlines_closed(uv_handle_t *handle)
{
	uv_timer_t *timer = (uv_timer_t *)handle;
	struct session_env *env = container_of(timer, struct session_env, deadlines.timer);

	env->closed_cb(env);
}

void session_env_close(struct session_env *env, void (*cb)(struct session_env *env))
{
	assert(env->count == 0);
	session_env_reap(env);
	deadline_queue_fini(&env->retry);
	free(env->relay.scratch);
	env->relay.scratch = NULL;
	relay_pipes_fini(&env->relay.pipes);
	env->closed_cb = cb;
	poller_close(&env->poller);
	deadlines_close(&env->deadlines, session_env_on_deadlines_closed);
}

void session_env_end_sessions(struct session_env *env, enum outcome outcome)
{
	LIST_FOR_EACH_SAFE (at, &env->sessions) {
		session_close(container_of(at, struct session, link), outcome);
	}
	session_env_reap(env);
}

void session_env_reap(struct session_env *env)
{
	LIST_FOR_EACH_SAFE (at, &env->closed) {
		session_free(container_of(at, struct session, link));
	}
	if (env->count == 0 && env->empty_cb != NULL)
		env->empty_cb(env);
}
