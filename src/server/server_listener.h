/* SPDX-License-Identifier: MIT */
/* A listener as the process sees it: one place, its sockets, and what all workers share of it. Used by the main
 * thread alone. */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/bug.h"
#include "session/service.h"
#include "session/upstream.h"

struct config;
struct inherited_sockets;
struct listener_check;
struct listener_config;
struct log_buffer;
struct server_error;
struct transparent;

/* One of its sockets, for worker number (its place) modulo (how many workers there are). */
struct server_socket {
	int fd; /* ours; the listener's as soon as that is there, and good until a worker is told to stop it */
	struct listener *listener;       /* ours until given; then the worker's, and only a name */
	struct session_service *service; /* made for it and not given yet; NULL: none */
};

struct server_listener {
	const struct listener_config *config;
	struct service_shared *shared; /* a reference */
	struct upstream_addresses addresses[2];
	struct server_socket *sockets;
	unsigned socket_count; /* 0 until it is opened; then at least one for each worker */
	uint16_t port;         /* it is bound to; 0: a unix socket */
	bool given;            /* to the workers: the sockets, and their listeners */
	bool file_stays;       /* there is no socket file, or it is not ours */
	bool file_to_take;     /* but will be, when we serve */
	bool shut;             /* its port refuses connections at present, for its upstream does */
	struct listener_check *check; /* NULL: none */
};

/* @config is borrowed. NULL when out of memory. */
struct server_listener *server_listener_create(const struct listener_config *config,
					       unsigned workers) MUST_CHECK;

/* Find its upstreams, waiting for the resolver. Returns 0, or an error with *@reterr set. */
int server_listener_resolve(struct server_listener *l, uv_loop_t *loop,
			    struct server_error *reterr) MUST_CHECK;

/* Take the sockets that were passed to us for its place, if there are any: then it is open. Returns 0; or a negative errno,
 * with *@reterr set unless it is -ENOMEM. */
int server_listener_claim(struct server_listener *l, struct inherited_sockets *inherited,
			  unsigned workers, struct server_error *reterr) MUST_CHECK;

/* Open its sockets. Returns 0; or a negative errno with nothing left open, and *@reterr set unless it is -ENOMEM. */
int server_listener_open(struct server_listener *l, unsigned workers,
			 struct server_error *reterr) MUST_CHECK;

/* Would transparent mode work for @l, a listener of @config? Returns 0, or a negative errno with *@reterr set. */
int server_listener_probe(const struct config *config, const struct listener_config *l,
			  const struct upstream_addresses addresses[2],
			  struct server_error *reterr) MUST_CHECK;

/* Make a service for each socket, to be given to its worker: of listener number @index of @config. Returns 0 or
 * -ENOMEM. */
int server_listener_make_services(struct server_listener *l, struct config *config, size_t index,
				  const struct upstream_addresses addresses[2],
				  struct transparent *transparent, unsigned workers) MUST_CHECK;

/* Those that were made and not given. */
void server_listener_drop_services(struct server_listener *l);

/* Make a listener of each socket and its service. Returns 0 or -ENOMEM. */
int server_listener_make_listeners(struct server_listener *l) MUST_CHECK;

/* We serve: the socket file of whoever passed it to us is ours to remove, unless it is to outlive us. */
void server_listener_take_file(struct server_listener *l);

/* Nobody finds it any more; nothing if it is no unix socket, or its file is not ours. */
void server_listener_unlink(struct server_listener *l);

/* Where it listens, and to whom it passes on. */
void server_listener_log(const struct server_listener *l, struct log_buffer *log);

/* Does it trust everybody? Worth a warning. */
bool server_listener_trusts_all(const struct listener_config *l);
void server_listener_warn_open(const struct server_listener *l, struct log_buffer *log);

/* With the sockets and their file, unless they were given. NULL does nothing. */
void server_listener_destroy(struct server_listener *l);

#endif
