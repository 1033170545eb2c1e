/* SPDX-License-Identifier: MIT */
/* What sessions need around them: once for each worker, and once for each listener of a worker. */
#ifndef SESSION_ENV_H
#define SESSION_ENV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/bug.h"
#include "base/list.h"
#include "obs/outcome.h"
#include "session/deadline.h"
#include "session/poller.h"
#include "session/relay.h"
#include "session/session.h"
#include "session/upstream.h"
#include "wire/proxy_header.h"

struct listener_config;
struct log_buffer;
struct transparent;

/* How many connections there may be; shared by the workers. */
struct admission {
	atomic_uint active;
	unsigned limit; /* 0: none */
};

/* Count one in. Returns false if that is one too many; it is counted all the same. */
static inline bool admission_enter(struct admission *a)
{
	unsigned before = atomic_fetch_add_explicit(&a->active, 1, memory_order_relaxed);

	return a->limit == 0 || before < a->limit;
}

static inline void admission_leave(struct admission *a)
{
	atomic_fetch_sub_explicit(&a->active, 1, memory_order_relaxed);
}

/* A header, even the longest, and what came behind it. */
#define SESSION_SCRATCH_SIZE (PROXY_HEADER_MAX + RELAY_CHUNK)

/* A worker's sessions and what they share. Used by the worker's thread alone. */
struct session_env {
	uv_loop_t *loop;
	struct poller poller;
	struct deadlines deadlines;
	struct deadline_queue retry; /* unix upstreams whose backlog was full */
	struct log_buffer *log;      /* borrowed */
	bool log_access;
	struct admission *process;             /* of all listeners; borrowed */
	const struct transparent *transparent; /* NULL if no listener is; borrowed */
	uint64_t next_id;                      /* session ids are next_id, next_id + id_step, … */
	uint64_t id_step;     /* the number of workers, so that ids are the process's own */
	struct list sessions; /* open ones */
	struct list closed;   /* ended ones that the current round may still name */
	unsigned count;       /* of open sessions */
	void (*empty_cb)(struct session_env *env); /* the last session ended, or NULL */
	void (*closed_cb)(struct session_env *env);
	void *data;                /* the owner's */
	struct relay_shared relay; /* its scratch is SESSION_SCRATCH_SIZE bytes; owned */
};

/* A listener, as its sessions see it. Sessions keep it in use until they end. */
struct session_service {
	struct session_env *env;
	const struct listener_config *config; /* borrowed */
	struct admission *admission;          /* of this listener, or NULL; borrowed */
	struct upstream upstream[2];          /* by the client's family: [0] IPv4, [1] IPv6 */
	atomic_uint_fast64_t port_conflicts;  /* clients whose port was not to be had */
	struct deadline_queue wait[SESSION_NSTATES];
};

/* What session_env_open() is told; borrowed until the env has closed. */
struct session_env_options {
	struct log_buffer *log;
	bool log_access;
	struct admission *process;
	const struct transparent *transparent; /* needed if a listener is */
	unsigned pipes;                        /* how many for splicing; 0: always copy */
	unsigned worker;                       /* from 0 */
	unsigned workers;                      /* how many */
	void *data;
};

/* Returns 0 or a negative errno with nothing left open. */
int session_env_open(struct session_env *env, uv_loop_t *loop,
		     const struct session_env_options *options) MUST_CHECK;

/* No session may be open. Asynchronous: @cb runs when the memory may go. */
void session_env_close(struct session_env *env, void (*cb)(struct session_env *env));

/* End every session. */
void session_env_end_sessions(struct session_env *env, enum outcome outcome);

/* Free the sessions that have ended. For every entry from the loop that may end some, when it is
 * done with them; the poller's and the deadlines' entries do it themselves. */
void session_env_reap(struct session_env *env);

/* @addresses are those of config->upstream[0] and [1]; copied. */
void session_service_init(struct session_service *service, struct session_env *env,
			  const struct listener_config *config, struct admission *admission,
			  const struct upstream_addresses addresses[2]);

/* Its sessions have ended, and session_service_stop() let its resolver requests answer. */
void session_service_fini(struct session_service *service);
void session_service_stop(struct session_service *service);

#endif
