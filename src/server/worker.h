/* SPDX-License-Identifier: MIT */
/* A thread with a loop, its listeners and their sessions. Workers share nothing but the counts of
 * admission and the configuration, which is read-only. The main thread speaks to them by mail. */
#ifndef WORKER_H
#define WORKER_H

#include <stdatomic.h>
#include <stdbool.h>

#include <uv.h>

#include "base/bug.h"
#include "server/listener.h"
#include "server/mailbox.h"
#include "session/session_env.h"

/* What a worker is to do. It only ever rises. */
enum worker_phase {
	WORKER_SERVE,
	WORKER_DRAIN, /* accept no more, let the sessions finish, end */
	WORKER_STOP,  /* reset the sessions that are left, end */
};

struct worker {
	uv_loop_t loop;
	uv_thread_t thread;
	struct mailbox mailbox;
	struct mail drain;
	struct mail stop;
	enum worker_phase told; /* by worker_post(), who alone uses it */
	struct session_env env;
	struct list listeners; /* struct listener */
	bool started;
	bool finishing;
	atomic_bool done;            /* its loop has ended */
	void (*done_cb)(void *data); /* on its thread, after the loop has ended */
	void *data;
};

/* Borrowed for the call. */
struct worker_options {
	struct session_env_options env;
	void (*done_cb)(void *data);
	void *data;
};

/* Set up everything but the thread. Returns 0, or a negative errno with nothing left behind. */
int worker_create(const struct worker_options *options, struct worker **ret) MUST_CHECK;

/* It takes @l. Before worker_start(), or on its thread, which then has to listener_start() it. */
void worker_add_listener(struct worker *w, struct listener *l);

/* Start the thread, which accepts from now on. Returns 0 or a libuv error. */
int worker_start(struct worker *w) MUST_CHECK;

/* Tell it what to do next, after what it was mailed before. The thread that created it. */
void worker_post(struct worker *w, enum worker_phase phase);

/* Join the thread, which is done or was never started, and free. NULL does nothing. */
void worker_destroy(struct worker *w);

#endif
