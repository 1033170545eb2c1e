/* SPDX-License-Identifier: MIT */
/* From the running configuration to another one: worked out, prepared, and applied. Main thread. */
#ifndef RELOAD_PLAN_H
#define RELOAD_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bug.h"
#include "session/upstream.h"

struct config;
struct listener_config;
struct log_buffer;
struct server;
struct server_error;
struct server_listener;
struct transparent;
struct worker_update;

/* A listener of the new configuration. */
struct reload_listener {
	const struct listener_config *config;
	const struct listener_config *old; /* what it was, and keeps its sockets; NULL: it is new */
	struct server_listener
	    *listener; /* a new one is ours until applied, and NULL until prepared */
	struct upstream_addresses
	    addresses[2]; /* of config->upstream; a count of 0: to be looked up */
};

struct reload_plan {
	struct server *server;
	struct config *old;              /* what ran before; a reference */
	struct config *config;           /* a reference */
	struct transparent *transparent; /* a reference; NULL unless a listener is */
	struct worker_update *
	    *updates; /* one for each worker; posted by whoever applies the plan */
	struct server_listener **running; /* what server->listeners will be */
	size_t kept;
	size_t added;
	size_t removed;
	struct reload_listener listeners[]; /* by config->listeners */
};

/* Compare @config, of which it takes a reference, with what runs. NULL when out of memory; then @config is as before. */
struct reload_plan *reload_plan_create(struct server *s, struct config *config) MUST_CHECK;

/* All addresses are known: do everything that may fail. Returns 0, or an error with *@reterr set. */
int reload_plan_prepare(struct reload_plan *p, struct server_error *reterr) MUST_CHECK;

/* Prepared: this is the running configuration now, as soon as the updates, which are the caller's, are posted. */
void reload_plan_apply(struct reload_plan *p);

/* Say what is new, and what would be if it did not take a restart. */
void reload_plan_log(const struct reload_plan *p, struct log_buffer *log);

/* Applied; or not, and then nothing has changed. NULL does nothing. */
void reload_plan_destroy(struct reload_plan *p);

#endif
