/* SPDX-License-Identifier: MIT */
/* How many connections each client has open, and how fast it opens more: for max_connections_per_client and
 * connection_rate_per_client. A client is an IPv4 address, or the /64 of an IPv6 address. Shared by the workers.
 *
 * Memory is bounded: @capacity clients are remembered. When one more comes, the one that has been quiet for
 * longest among those without an open connection is forgotten, which can only be to that one's advantage. If all
 * have connections open, the new one is admitted and not remembered: whoever fills the table with addresses of
 * his own locks nobody out. The hash is keyed at random, so nobody can choose whose place he takes. */
#ifndef CLIENT_TABLE_H
#define CLIENT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bug.h"

struct client_table;

/* Limits are told with each call, so that a reload changes them for new connections at once. */
struct client_limits {
	unsigned max_connections; /* 0: no limit */
	unsigned per_second;      /* 0: no limit */
	unsigned burst;           /* at least 1 if per_second is not 0 */
};

enum client_verdict {
	CLIENT_ADMITTED,
	CLIENT_UNTRACKED, /* admitted; the table is full of clients with open connections */
	CLIENT_TOO_MANY,  /* max_connections are open */
	CLIENT_TOO_FAST,  /* the bucket is empty */
};

/* NULL when out of memory, or if the kernel has no random bytes; untouched memory costs nothing. @capacity is 1 to
 * 2^32 - 2. From 8192 on it is divided among up to 16 parts, and clients compete within theirs only. */
struct client_table *client_table_create(size_t capacity) MUST_CHECK;

/* NULL does nothing. */
void client_table_destroy(struct client_table *t);

/* A connection of @client at @now_ns (of a monotonic clock). Only CLIENT_ADMITTED counts it, and takes a
 * token; then client_table_leave() is due at its end. AF_UNIX and AF_UNSPEC are always UNTRACKED. Any thread. */
enum client_verdict client_table_enter(struct client_table *t, const struct address *client,
				       const struct client_limits *limits,
				       uint64_t now_ns) MUST_CHECK;

void client_table_leave(struct client_table *t, const struct address *client);

/* Clients that are remembered now. Any thread. */
size_t client_table_count(struct client_table *t);

#endif
