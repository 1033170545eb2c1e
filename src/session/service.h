/* SPDX-License-Identifier: MIT */
/* A listener, as the sessions of one worker see it: its settings, its upstream, its counts.
 *
 * A reload gives a listener new services; the sessions that are open keep theirs, which goes with the last of them.
 * What outlives a reload is in struct service_shared. */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bug.h"
#include "obs/metrics.h"
#include "session/deadline.h"
#include "session/session.h"
#include "session/upstream.h"

struct client_table;
struct config;
struct listener_config;
struct session_env;
struct transparent;

/* How many connections there may be; shared by the workers. */
struct admission {
	atomic_uint active;
	atomic_uint limit; /* 0: none */
};

/* Count one in. Returns false if that is one too many; it is counted all the same. */
static inline bool admission_enter(struct admission *a)
{
	unsigned before = atomic_fetch_add_explicit(&a->active, 1, memory_order_relaxed);
	unsigned limit = atomic_load_explicit(&a->limit, memory_order_relaxed);

	return limit == 0 || before < limit;
}

static inline void admission_leave(struct admission *a)
{
	atomic_fetch_sub_explicit(&a->active, 1, memory_order_relaxed);
}

/* One listener, for all workers and across reloads. */
struct service_shared {
	atomic_uint references;
	struct admission admission;
	struct client_table *clients; /* owned; NULL until a client's connections were limited */
	unsigned workers;
	struct listener_metrics metrics[]; /* by worker, who alone writes his */
};

/* With one reference. NULL when out of memory. */
struct service_shared *service_shared_create(unsigned workers) MUST_CHECK;
struct service_shared *service_shared_ref(struct service_shared *shared);

/* Before services are created of @config: from the first one on that limits the connections of a client, clients are
 * remembered, as many as its max_tracked_clients says. Returns 0 or -ENOMEM. */
int service_shared_track_clients(struct service_shared *shared,
				 const struct listener_config *config) MUST_CHECK;

/* The last reference frees. NULL does nothing. Any thread. */
void service_shared_unref(struct service_shared *shared);

struct session_service {
	struct session_env *env; /* NULL until attached */
	struct config *owner;    /* of `config`; a reference */
	const struct listener_config *config;
	struct service_shared *shared;    /* a reference */
	struct listener_metrics *metrics; /* this worker's, in `shared` */
	struct client_table *clients;     /* in `shared`; NULL: a client has no limits */
	struct transparent *transparent;  /* a reference; NULL unless config->transparent */
	struct upstream upstream[2];      /* by the client's family: [0] IPv4, [1] IPv6 */
	struct deadline_queue wait[SESSION_NSTATES];
	unsigned references; /* of sessions, and of whoever accepts for it; the worker's thread's */
};

/* What service_create() is told. */
struct service_options {
	struct config *config;           /* it takes a reference */
	size_t listener;                 /* index in config->listeners */
	struct service_shared *shared;   /* it takes a reference */
	struct transparent *transparent; /* it takes a reference, if the listener is transparent */
	const struct upstream_addresses
	    *addresses;  /* two: of config->upstream[0] and [1]; copied */
	unsigned worker; /* from 0 */
};

/* Everything that may fail, on any thread. With one reference, which is the caller's. Returns 0 or -ENOMEM. */
int service_create(const struct service_options *options, struct session_service **ret) MUST_CHECK;

/* Give it to a worker. From now on it is that thread's. */
void service_attach(struct session_service *service, struct session_env *env);

struct session_service *service_ref(struct session_service *service);

/* Ask for the addresses of one of its upstreams again. Returns 0: session_on_resolved() follows; or a libuv error. */
int service_resolve(struct session_service *service, struct upstream *u) MUST_CHECK;

/* The last reference frees, as soon as the resolver has answered what was asked; attached or not. NULL does nothing. */
void service_unref(struct session_service *service);

#endif
