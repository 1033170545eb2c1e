/* SPDX-License-Identifier: MIT */
/* The process: listeners, workers, signals, start and orderly end. */
#ifndef SERVER_H
#define SERVER_H

#include <stdbool.h>

#include "base/bug.h"

struct config;
struct inherited_sockets;
struct log;
struct program;
struct server;

/* What could not be done and why, for people, without "unproxy: " before it. */
struct server_error {
	char text[2048];
};

/* Loads the configuration again, for a reload (SIGHUP). */
struct server_loader {
	/* Returns 0 with a reference in @ret, or a negative errno with *@reterr set. On the thread of server_run().
	 * NULL: there are no reloads. */
	int (*load)(void *data, struct config **ret, struct server_error *reterr);
	void *data;
};

/* All borrowed for the call, but for what is said. */
struct server_options {
	struct config *config; /* a reference is taken */
	struct log *log;       /* borrowed until server_destroy() */
	struct server_loader loader;
	struct inherited_sockets *inherited; /* to be used before others are opened, or NULL */
	const struct program *program; /* to be started on SIGUSR2; borrowed for good, or NULL */
	const char *no_upgrade;        /* why it is NULL, for people; borrowed for good, or NULL */
};

/* Raise RLIMIT_NOFILE, resolve the upstreams and open every listener: what may take privileges.
 * Returns 0, or a negative errno with *@reterr set and nothing left open. */
int server_open(const struct server_options *options, struct server **ret,
		struct server_error *reterr) MUST_CHECK;

/* Try transparent mode, if a listener is to have it, and start the workers: connections are accepted. Returns 0, or a
 * negative errno with *@reterr set; then only server_destroy() is left to do. */
int server_start(struct server *s, struct server_error *reterr) MUST_CHECK;

/* Both of them. */
int server_create(const struct server_options *options, struct server **ret,
		  struct server_error *reterr) MUST_CHECK;

/* The port that listener @index is bound to; it may have asked for port 0. 0 for a unix socket. Not while a reload is
 * under way on another thread. */
unsigned server_port(const struct server *s, unsigned index);

/* Handle signals until SIGTERM or SIGINT, then drain: stop accepting, and let connections finish for
 * shutdown_timeout_ms. A second signal ends at once. So it does once another process has taken over (SIGUSR2).
 * Returns true; or false if a worker is stuck in a name lookup that does not end: then the process has to end
 * without server_destroy() and exit(3), for both would wait for it. */
bool server_run(struct server *s);

/* Ask server_run() to drain and return, from any thread. */
void server_stop(struct server *s);

void server_destroy(struct server *s);

#endif
