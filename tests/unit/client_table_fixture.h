/* SPDX-License-Identifier: MIT */
/* Clients by name and by number, and what a table says to them. */
#ifndef CLIENT_TABLE_FIXTURE_H
#define CLIENT_TABLE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/bug.h"
#include "session/client_table.h"

#define SECOND UINT64_C(1000000000)

/* Any time will do to begin with. */
#define START (12345 * SECOND)

static inline struct address ip(const char *text)
{
	struct address a = { 0 };

	if (address_parse_ip(text, &a) != 0)
		fail_msg("%s is no address", text);
	return a;
}

/* A client of its own for every number. */
static inline struct address numbered(uint32_t number)
{
	struct address a = { .family = AF_INET };

	memcpy(a.ip, &number, sizeof number);
	return a;
}

static inline struct client_table *table(size_t capacity)
{
	struct client_table *t = client_table_create(capacity);

	assert_non_null(t);
	return t;
}

static inline enum client_verdict enter(struct client_table *t, const char *client,
					struct client_limits limits, uint64_t now_ns)
{
	struct address a = ip(client);

	return client_table_enter(t, &a, &limits, now_ns);
}

static inline void leave(struct client_table *t, const char *client)
{
	struct address a = ip(client);

	client_table_leave(t, &a);
}

static inline void assert_admits(struct client_table *t, const char *client,
				 struct client_limits limits, uint64_t now_ns, unsigned count)
{
	while (count-- > 0)
		assert_int_equal(enter(t, client, limits, now_ns), CLIENT_ADMITTED);
}

/* As a connection that ends at once; the rate is what counts. */
static inline enum client_verdict visit(struct client_table *t, const struct address *client,
					const struct client_limits *limits, uint64_t now_ns)
{
	enum client_verdict verdict = client_table_enter(t, client, limits, now_ns);

	if (verdict == CLIENT_ADMITTED)
		client_table_leave(t, client);
	return verdict;
}

#endif
