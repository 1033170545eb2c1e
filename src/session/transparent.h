/* SPDX-License-Identifier: MIT */
/* Transparent mode: upstream sockets that carry the client's own address and port, so that the application
 * sees the client. Needs CAP_NET_RAW, and the routes of `unproxy routes` for the answers. */
#ifndef TRANSPARENT_H
#define TRANSPARENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bug.h"

struct config;

/* Shared by the services of all workers; read-only once made. */
struct transparent {
	atomic_uint references;
	uint32_t mark;           /* firewall mark of upstream sockets */
	struct address *refused; /* what no client can come from; port 0: whatever the port */
	size_t refused_count;
};

/* With one reference. Learns this host's addresses, which may change later: transparent_connect() then still finds out
 * that it did not get the address it asked for. Returns 0 or a negative errno. */
int transparent_create(const struct config *config, struct transparent **ret) MUST_CHECK;

struct transparent *transparent_ref(struct transparent *t);

/* The last reference frees. NULL does nothing. Any thread. */
void transparent_unref(struct transparent *t);

/* Why can @client not be connected from? A static text, with advice in *@ret_hint (or NULL); NULL if it can. */
const char *transparent_refusal(const struct transparent *t, const struct address *client,
				const char **ret_hint);

/* What came of transparent_connect(). The texts are static. */
struct transparent_result {
	int fd;             /* the socket, the caller's; -1: none */
	const char *note;   /* why the port is not the client's, or NULL */
	const char *failed; /* why the socket cannot be the client's; NULL: connecting failed */
	const char *hint;   /* what to do about it, or NULL */
};

/* Start connecting a non-blocking socket to @to, from the address and port of @client, which is of the same family.
 * If the port is not to be had, another port of the same address is used; the address is never another.
 * Returns 0: connected; 1: in progress, the socket becomes writable; or a negative errno without a socket. */
int transparent_connect(const struct transparent *t, const struct address *client,
			const struct address *to, struct transparent_result *ret) MUST_CHECK;

#endif
