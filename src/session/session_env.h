/* SPDX-License-Identifier: MIT */
/* What the sessions of a worker share. */
#ifndef SESSION_ENV_H
#define SESSION_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/bug.h"
#include "base/list.h"
#include "obs/outcome.h"
#include "session/deadline.h"
#include "session/poller.h"
#include "session/relay.h"
#include "wire/proxy_header.h"

struct admission;
struct log_buffer;

/* A header, even the longest, and what came behind it. */
#define SESSION_SCRATCH_SIZE (PROXY_HEADER_MAX + RELAY_CHUNK)

/* A worker's sessions and what they share. Used by the worker's thread alone. */
struct session_env {
	uv_loop_t *loop;
	struct poller poller;
	struct deadlines deadlines;
	struct deadline_queue retry; /* unix upstreams whose backlog was full */
	struct log_buffer *log;      /* borrowed */
	struct admission *process;   /* of all listeners; borrowed */
	uint64_t next_id;            /* session ids are next_id, next_id + id_step, … */
	uint64_t id_step;            /* the number of workers, so that ids are the process's own */
	struct list sessions;        /* open ones */
	struct list closed;          /* ended ones that the current round may still name */
	unsigned count;              /* of open sessions */
	void (*empty_cb)(struct session_env *env); /* the last session ended, or NULL */
	void (*closed_cb)(struct session_env *env);
	void *data;                /* the owner's */
	struct relay_shared relay; /* its scratch is SESSION_SCRATCH_SIZE bytes; owned */
};

/* What session_env_open() is told; borrowed until the env has closed. */
struct session_env_options {
	struct log_buffer *log;
	struct admission *process;
	unsigned pipes;   /* how many for splicing; 0: always copy */
	unsigned worker;  /* from 0 */
	unsigned workers; /* how many */
	void *data;
};

/* Returns 0 or a negative errno with nothing left open. */
int session_env_open(struct session_env *env, uv_loop_t *loop,
		     const struct session_env_options *options) MUST_CHECK;

/* No session may be open. Asynchronous: @cb runs when the handles are closed. The memory may go when the loop has run
 * out: a service that nobody needs any more may still wait for the resolver. */
void session_env_close(struct session_env *env, void (*cb)(struct session_env *env));

/* End every session. */
void session_env_end_sessions(struct session_env *env, enum outcome outcome);

/* Free the sessions that have ended. For every entry from the loop that may end some, when it is
 * done with them; the poller's and the deadlines' entries do it themselves. */
void session_env_reap(struct session_env *env);

#endif
