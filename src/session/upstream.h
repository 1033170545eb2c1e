/* SPDX-License-Identifier: MIT */
/* Where one worker finds an application: its addresses, and how to connect to one of them. */
#ifndef UPSTREAM_H
#define UPSTREAM_H

#include <stdbool.h>

#include <uv.h>

#include "base/address.h"
#include "base/bug.h"

struct endpoint;
struct upstream;

/* A host with more addresses than this is served by the first ones. */
#define UPSTREAM_ADDRESSES_MAX 16

/* The addresses of an endpoint, in the order in which they are tried. */
struct upstream_addresses {
	unsigned count;
	struct address list[UPSTREAM_ADDRESSES_MAX];
};

/* @status is 0 or a libuv error of uv_getaddrinfo(); then the addresses are the old ones. */
typedef void (*upstream_resolved_cb)(struct upstream *u, int status);

struct upstream {
	const struct endpoint *endpoint; /* borrowed */
	struct upstream_addresses addresses;
	uv_getaddrinfo_t request;
	bool resolving; /* the request is in flight */
	upstream_resolved_cb resolved_cb;
	void *data; /* the owner's */
};

/* Find the addresses of @e, waiting for the resolver if it is a name: for the start of the program. A unix
 * socket has one address without an IP. Returns 0 or a libuv error. */
int upstream_addresses_find(const struct endpoint *e, uv_loop_t *loop,
			    struct upstream_addresses *ret) MUST_CHECK;

/* @e is borrowed, @addresses copied. */
void upstream_init(struct upstream *u, const struct endpoint *e,
		   const struct upstream_addresses *addresses, void *data);

/* Ask for the addresses of a name again, without blocking; nothing happens if that is already under way.
 * Returns 0: @cb runs later, once. Returns a libuv error: it does not. */
int upstream_resolve(struct upstream *u, uv_loop_t *loop, upstream_resolved_cb cb) MUST_CHECK;

/* Give an answer that is under way up; the loop must still run to deliver that. */
void upstream_stop(struct upstream *u);

/* Start connecting to address number @i: a non-blocking socket in @ret_fd, the caller's.
 * Returns 0: connected; 1: in progress, the socket becomes writable; or a negative errno without a socket. -EAGAIN
 * comes from a unix socket whose backlog is full: nothing tells when it has room. */
int upstream_connect(const struct upstream *u, unsigned i, int *ret_fd) MUST_CHECK;

/* What every TCP socket to an application at @a gets. */
void upstream_set_options(int fd, const struct address *a);

#endif
