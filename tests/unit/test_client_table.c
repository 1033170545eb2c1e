/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bug.h"
#include "lib/test_fault.h"
#include "session/client_table.h"

#define SECOND UINT64_C(1000000000)

/* Any time will do to begin with. */
#define START (12345 * SECOND)

#define THREADS 8

static struct address ip(const char *text)
{
	struct address a = { 0 };

	if (address_parse_ip(text, &a) != 0)
		fail_msg("%s is no address", text);
	return a;
}

/* A client of its own for every number. */
static struct address numbered(uint32_t number)
{
	struct address a = { .family = AF_INET };

	memcpy(a.ip, &number, sizeof number);
	return a;
}

static struct client_table *table(size_t capacity)
{
	struct client_table *t = client_table_create(capacity);

	assert_non_null(t);
	return t;
}

static enum client_verdict enter(struct client_table *t, const char *client,
				 struct client_limits limits, uint64_t now_ns)
{
	struct address a = ip(client);

	return client_table_enter(t, &a, &limits, now_ns);
}

static void leave(struct client_table *t, const char *client)
{
	struct address a = ip(client);

	client_table_leave(t, &a);
}

static void assert_admits(struct client_table *t, const char *client, struct client_limits limits,
			  uint64_t now_ns, unsigned count)
{
	while (count-- > 0)
		assert_int_equal(enter(t, client, limits, now_ns), CLIENT_ADMITTED);
}

/* As a connection that ends at once; the rate is what counts. */
static enum client_verdict visit(struct client_table *t, const struct address *client,
				 const struct client_limits *limits, uint64_t now_ns)
{
	enum client_verdict verdict = client_table_enter(t, client, limits, now_ns);

	if (verdict == CLIENT_ADMITTED)
		client_table_leave(t, client);
	return verdict;
}

/* --- the limits --- */

static void test_so_many_connections_and_not_one_more(void **state)
{
	static const unsigned limits[] = { 1, 2, 100 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct client_limits l = { .max_connections = limits[i] };
		struct client_table *t = table(10);

		assert_admits(t, "192.0.2.1", l, START, limits[i]);
		assert_int_equal(enter(t, "192.0.2.1", l, START), CLIENT_TOO_MANY);
		assert_int_equal(enter(t, "192.0.2.1", l, START + SECOND), CLIENT_TOO_MANY);
		assert_admits(t, "192.0.2.2", l, START, limits[i]);
		leave(t, "192.0.2.1");
		assert_admits(t, "192.0.2.1", l, START, 1);
		assert_int_equal(enter(t, "192.0.2.1", l, START), CLIENT_TOO_MANY);
		client_table_destroy(t);
	}
}

static void test_a_burst_and_then_one_by_one(void **state)
{
	static const struct client_limits l = { .per_second = 4, .burst = 5 };
	const uint64_t token = SECOND / 4;
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "192.0.2.1", l, START, 5);
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(enter(t, "192.0.2.1", l, START + i * token - 1), CLIENT_TOO_FAST);
		assert_int_equal(enter(t, "192.0.2.1", l, START + i * token), CLIENT_ADMITTED);
		assert_int_equal(enter(t, "192.0.2.1", l, START + i * token), CLIENT_TOO_FAST);
	}
	client_table_destroy(t);
}

static void test_a_bucket_fills_up_to_the_burst(void **state)
{
	static const struct client_limits l = { .per_second = 4, .burst = 5 };
	const uint64_t token = SECOND / 4;
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "192.0.2.1", l, START, 5);
	assert_admits(t, "192.0.2.1", l, START + 3 * token, 3);
	assert_int_equal(enter(t, "192.0.2.1", l, START + 3 * token), CLIENT_TOO_FAST);
	assert_admits(t, "192.0.2.1", l, START + 8 * token, 5);
	assert_int_equal(enter(t, "192.0.2.1", l, START + 8 * token), CLIENT_TOO_FAST);
	assert_admits(t, "192.0.2.1", l, START + 1000 * SECOND, 5);
	assert_int_equal(enter(t, "192.0.2.1", l, START + 1000 * SECOND), CLIENT_TOO_FAST);
	client_table_destroy(t);
}

/* 1/3 s is no whole number of nanoseconds. */
static void test_a_rate_is_never_exceeded_by_rounding(void **state)
{
	static const struct client_limits l = { .per_second = 3, .burst = 1 };
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "192.0.2.1", l, START, 1);
	assert_int_equal(enter(t, "192.0.2.1", l, START + SECOND / 3), CLIENT_TOO_FAST);
	assert_admits(t, "192.0.2.1", l, START + SECOND / 3 + 1, 1);
	client_table_destroy(t);
}

static void test_a_refusal_takes_no_token(void **state)
{
	static const struct client_limits l = { .max_connections = 2, .per_second = 1, .burst = 4 };
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "192.0.2.1", l, START, 2);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(enter(t, "192.0.2.1", l, START), CLIENT_TOO_MANY);
	leave(t, "192.0.2.1");
	leave(t, "192.0.2.1");
	assert_admits(t, "192.0.2.1", l, START, 2);
	leave(t, "192.0.2.1");
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(enter(t, "192.0.2.1", l, START), CLIENT_TOO_FAST);
	assert_admits(t, "192.0.2.1", l, START + SECOND, 1);
	client_table_destroy(t);
}

static void test_no_limits_admit_everybody(void **state)
{
	static const struct client_limits none = { 0 };
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "192.0.2.1", none, START, 1000);
	for (unsigned i = 0; i < 1000; i++)
		leave(t, "192.0.2.1");
	assert_int_equal(client_table_count(t), 0);
	client_table_destroy(t);
}

static void test_the_largest_numbers(void **state)
{
	static const struct client_limits fast = { .per_second = 1000000, .burst = 1000000 };
	static const struct client_limits slow = { .per_second = 1, .burst = 1000000 };
	static const uint64_t times[] = {
		0, 1, START, INT64_MAX, UINT64_MAX - 1000000 * SECOND, UINT64_MAX - 1000
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		struct client_table *t = table(10);

		assert_admits(t, "192.0.2.1", fast, times[i], 1000000);
		assert_int_equal(enter(t, "192.0.2.1", fast, times[i] + 999), CLIENT_TOO_FAST);
		assert_admits(t, "192.0.2.1", fast, times[i] + 1000, 1);
		assert_int_equal(enter(t, "192.0.2.1", fast, times[i] + 1000), CLIENT_TOO_FAST);
		assert_admits(t, "192.0.2.2", slow, times[i] + 1000, 1000000);
		assert_int_equal(enter(t, "192.0.2.2", slow, times[i] + 1000), CLIENT_TOO_FAST);
		client_table_destroy(t);
	}
}

static void test_time_that_seems_to_go_back_gives_nothing(void **state)
{
	static const struct client_limits l = { .per_second = 1, .burst = 2 };
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "192.0.2.1", l, START, 2);
	assert_int_equal(enter(t, "192.0.2.1", l, START - SECOND), CLIENT_TOO_FAST);
	assert_int_equal(enter(t, "192.0.2.1", l, START + SECOND - 1), CLIENT_TOO_FAST);
	assert_admits(t, "192.0.2.1", l, START + SECOND, 1);
	client_table_destroy(t);
}

/* --- limits that change --- */

static void test_another_number_of_connections_counts_at_once(void **state)
{
	static const struct client_limits five = { .max_connections = 5 };
	static const struct client_limits two = { .max_connections = 2 };
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "192.0.2.1", two, START, 2);
	assert_admits(t, "192.0.2.1", five, START, 3);
	assert_int_equal(enter(t, "192.0.2.1", five, START), CLIENT_TOO_MANY);
	for (unsigned open = 5; open >= 2; open--) {
		assert_int_equal(enter(t, "192.0.2.1", two, START), CLIENT_TOO_MANY);
		leave(t, "192.0.2.1");
	}
	assert_admits(t, "192.0.2.1", two, START, 1);
	assert_int_equal(enter(t, "192.0.2.1", two, START), CLIENT_TOO_MANY);
	client_table_destroy(t);
}

/* A large bucket that was empty needs an hour to fill; a small one in its place is only empty. */
static void test_a_smaller_bucket_is_at_most_empty(void **state)
{
	static const struct client_limits large = { .per_second = 1, .burst = 3600 };
	static const struct client_limits small = { .per_second = 100, .burst = 10 };
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "192.0.2.1", large, START, 3600);
	assert_int_equal(enter(t, "192.0.2.1", small, START), CLIENT_TOO_FAST);
	assert_int_equal(enter(t, "192.0.2.1", small, START + SECOND / 100 - 1), CLIENT_TOO_FAST);
	assert_admits(t, "192.0.2.1", small, START + SECOND / 100, 1);
	assert_int_equal(enter(t, "192.0.2.1", small, START + SECOND / 100), CLIENT_TOO_FAST);
	client_table_destroy(t);
}

static void test_connections_that_came_without_a_limit_are_counted(void **state)
{
	static const struct client_limits none = { 0 };
	static const struct client_limits l = { .max_connections = 3, .per_second = 1, .burst = 3 };
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "192.0.2.1", none, START, 2);
	assert_admits(t, "192.0.2.1", l, START, 1);
	assert_int_equal(enter(t, "192.0.2.1", l, START), CLIENT_TOO_MANY);
	assert_admits(t, "192.0.2.1", none, START, 1);
	client_table_destroy(t);
}

/* --- who is one client --- */

static void test_an_ipv6_network_of_64_bits_is_one_client(void **state)
{
	static const struct client_limits l = { .max_connections = 2 };
	struct client_table *t = table(10);

	(void)state;
	assert_admits(t, "2001:db8:0:1::1", l, START, 1);
	assert_admits(t, "2001:db8:0:1:ffff:ffff:ffff:ffff", l, START, 1);
	assert_int_equal(enter(t, "2001:db8:0:1:8000::", l, START), CLIENT_TOO_MANY);
	assert_admits(t, "2001:db8:0:2::1", l, START, 2);
	assert_admits(t, "2001:db8::1", l, START, 2);
	assert_int_equal(client_table_count(t), 3);
	leave(t, "2001:db8:0:1::7");
	assert_admits(t, "2001:db8:0:1::8", l, START, 1);
	client_table_destroy(t);
}

static void test_an_ipv4_address_is_one_client(void **state)
{
	static const struct client_limits l = { .max_connections = 1 };
	struct client_table *t = table(10);
	struct address a = ip("192.0.2.1");

	(void)state;
	assert_admits(t, "192.0.2.1", l, START, 1);
	assert_admits(t, "192.0.2.0", l, START, 1);
	assert_admits(t, "192.0.2.2", l, START, 1);
	a.port = 1234;
	assert_int_equal(client_table_enter(t, &a, &l, START), CLIENT_TOO_MANY);
	assert_int_equal(enter(t, "::ffff:192.0.2.1", l, START), CLIENT_TOO_MANY);
	client_table_destroy(t);
}

/* Also if their hashes end alike, which in so small a table every other pair's do. */
static void test_the_families_are_strangers(void **state)
{
	static const struct client_limits l = { .max_connections = 1 };

	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		struct client_table *t = table(2);

		assert_admits(t, "32.1.13.184", l, START, 1); /* begins with the same bytes */
		assert_admits(t, "2001:db8::", l, START, 1);
		assert_int_equal(client_table_count(t), 2);
		client_table_destroy(t);
	}
}

static void test_who_has_no_address_is_not_tracked(void **state)
{
	static const uint16_t families[] = { AF_UNIX, AF_UNSPEC };
	static const struct client_limits l = { .max_connections = 1, .per_second = 1, .burst = 1 };
	struct client_table *t = table(10);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct address a = { .family = families[i] };

		for (unsigned n = 0; n < 3; n++)
			assert_int_equal(client_table_enter(t, &a, &l, START), CLIENT_UNTRACKED);
	}
	assert_int_equal(client_table_count(t), 0);
	client_table_destroy(t);
}

/* --- who is remembered --- */

/* Admitted again means forgotten: the bucket holds one. A refusal changes nothing for those that are asked about
 * later, so ask about the forgotten last. */
static const struct client_limits once = { .per_second = 1, .burst = 1 };

static void assert_remembered(struct client_table *t, uint32_t number)
{
	struct address a = numbered(number);

	assert_int_equal(visit(t, &a, &once, START), CLIENT_TOO_FAST);
}

static void assert_new(struct client_table *t, uint32_t number)
{
	struct address a = numbered(number);

	assert_int_equal(visit(t, &a, &once, START), CLIENT_ADMITTED);
}

static void test_who_has_been_quiet_for_longest_is_forgotten(void **state)
{
	struct client_table *t = table(4);

	(void)state;
	for (uint32_t i = 1; i <= 4; i++)
		assert_new(t, i);
	assert_new(t, 5); /* in the place of 1 */
	for (uint32_t i = 2; i <= 5; i++)
		assert_remembered(t, i);
	assert_new(t, 1); /* in that of 2 */
	for (uint32_t i = 3; i <= 5; i++)
		assert_remembered(t, i);
	assert_int_equal(client_table_count(t), 4);
	client_table_destroy(t);
}

static void test_an_attempt_is_not_quiet_and_nor_is_a_leave(void **state)
{
	struct client_table *t = table(3);
	struct address first = numbered(1);

	(void)state;
	assert_int_equal(client_table_enter(t, &first, &once, START), CLIENT_ADMITTED);
	assert_new(t, 2);
	assert_new(t, 3);
	client_table_leave(t, &first);
	assert_remembered(t, 2); /* heard of again, though refused */
	assert_new(t, 4);        /* in the place of 3 */
	assert_new(t, 5);        /* in that of 1 */
	assert_remembered(t, 2);
	assert_remembered(t, 4);
	assert_remembered(t, 5);
	client_table_destroy(t);
}

static void test_a_client_with_a_connection_is_never_forgotten(void **state)
{
	static const struct client_limits l = { .max_connections = 1, .per_second = 1, .burst = 9 };
	struct client_table *t = table(3);

	(void)state;
	assert_admits(t, "192.0.2.1", l, START, 1);
	for (uint32_t i = 1; i < 1000; i++)
		assert_new(t, i);
	assert_int_equal(enter(t, "192.0.2.1", l, START), CLIENT_TOO_MANY);
	assert_int_equal(client_table_count(t), 3);
	leave(t, "192.0.2.1");
	for (uint32_t i = 1; i < 1000; i++)
		assert_new(t, i);
	assert_admits(t, "192.0.2.1", l, START, 1);
	client_table_destroy(t);
}

static void test_a_table_full_of_connections_admits_strangers(void **state)
{
	static const struct client_limits l = { .max_connections = 1 };

	(void)state;
	for (uint32_t capacity = 1; capacity <= 100; capacity++) {
		struct client_table *t = table(capacity);
		struct address stranger = numbered(0), first = numbered(1);

		for (uint32_t i = 1; i <= capacity; i++) {
			struct address a = numbered(i);

			assert_int_equal(client_table_enter(t, &a, &l, START), CLIENT_ADMITTED);
		}
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(client_table_enter(t, &stranger, &l, START),
					 CLIENT_UNTRACKED);
		for (uint32_t i = 1; i <= capacity; i++) {
			struct address a = numbered(i);

			assert_int_equal(client_table_enter(t, &a, &l, START), CLIENT_TOO_MANY);
		}
		assert_int_equal(client_table_count(t), capacity);
		client_table_leave(t, &first);
		assert_int_equal(client_table_enter(t, &stranger, &l, START), CLIENT_ADMITTED);
		assert_int_equal(client_table_enter(t, &stranger, &l, START), CLIENT_TOO_MANY);
		client_table_destroy(t);
	}
}

static void test_who_has_nothing_to_be_remembered_is_forgotten(void **state)
{
	struct client_table *t = table(1000);

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		assert_new(t, i);
	assert_int_equal(client_table_count(t), 1000);
	/* Their buckets are full again; each that comes takes the place of two. */
	for (uint32_t i = 0; i < 1000; i++) {
		struct address a = numbered(1000 + i);
		struct client_limits l = { .max_connections = 1 };

		assert_int_equal(visit(t, &a, &l, START + SECOND), CLIENT_ADMITTED);
	}
	assert_int_equal(client_table_count(t), 0);
	client_table_destroy(t);
}

/* --- many --- */

/* As many as there is room for: no more, and, where shards divide it, none before nearly all of it is taken. */
static void test_a_large_table_is_as_large_as_it_was_told(void **state)
{
	static const size_t capacities[] = { 8191, 8192, 65536, 100003 };
	static const struct client_limits l = { .max_connections = 1 };

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(capacities); n++) {
		struct client_table *t = table(capacities[n]);
		size_t untracked = 0;

		for (uint32_t i = 0; i < 2 * capacities[n]; i++) {
			struct address a = numbered(i);

			if (client_table_enter(t, &a, &l, START) == CLIENT_UNTRACKED)
				untracked++;
			if (i < capacities[n] / 10 * 9)
				assert_int_equal(untracked, 0);
		}
		assert_int_equal(client_table_count(t), capacities[n]);
		assert_int_equal(untracked, capacities[n]);
		client_table_destroy(t);
	}
}

/* Whoever has a million addresses neither fills the memory nor takes anything from others. */
static void test_a_million_clients_leave_no_trace(void **state)
{
	static const struct client_limits l = { .max_connections = 2, .per_second = 1, .burst = 3 };
	const size_t capacity = 65536;
	struct client_table *t = table(capacity);

	(void)state;
	assert_admits(t, "2001:db8::1", l, START, 2);
	fault_arm(0);
	for (uint32_t i = 0; i < 1000000; i++) {
		struct address a = numbered(i);

		if (visit(t, &a, &l, START) != CLIENT_ADMITTED)
			fail_msg("client %u is refused", i);
		if (i % 10000 == 0 && client_table_count(t) > capacity)
			fail_msg("%zu clients after %u", client_table_count(t), i);
	}
	assert_false(fault_disarm()); /* it has not even tried to get more memory */
	assert_int_equal(client_table_count(t), capacity);
	assert_int_equal(enter(t, "2001:db8::2", l, START), CLIENT_TOO_MANY);
	leave(t, "2001:db8::1");
	assert_admits(t, "2001:db8::1", l, START, 1);
	leave(t, "2001:db8::1");
	assert_int_equal(enter(t, "2001:db8::1", l, START), CLIENT_TOO_FAST);
	client_table_destroy(t);
}

static void test_a_table_for_which_there_is_no_memory(void **state)
{
	unsigned fail_at = 0;

	(void)state;
	for (;; fail_at++) {
		struct client_table *t;

		fault_arm(fail_at);
		t = client_table_create(10000);
		if (!fault_disarm()) {
			assert_non_null(t);
			client_table_destroy(t);
			break;
		}
		assert_null(t);
	}
	assert_true(fail_at >= 3);
	client_table_destroy(NULL);
}

/* --- threads --- */

struct crowd {
	struct client_table *t;
	struct client_limits limits;
	pthread_barrier_t start;
	atomic_uint admitted;
	atomic_uint open[4]; /* of client i */
	atomic_bool broken;
};

static void run_threads(struct crowd *c, void *(*fn)(void *))
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&c->start, NULL, THREADS);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fn, c), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&c->start);
}

static void *ask_for_one_client(void *arg)
{
	struct crowd *c = arg;
	struct address a = numbered(1);

	pthread_barrier_wait(&c->start);
	for (unsigned i = 0; i < 1000; i++)
		if (client_table_enter(c->t, &a, &c->limits, START) == CLIENT_ADMITTED)
			c->admitted++;
	return NULL;
}

static void test_threads_together_get_what_one_would(void **state)
{
	static const struct client_limits limits[] = {
		{ .max_connections = 777 },
		{ .per_second = 1, .burst = 777 },
		{ .max_connections = 1000, .per_second = 1, .burst = 777 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct crowd c = { .t = table(10), .limits = limits[i] };

		run_threads(&c, ask_for_one_client);
		assert_int_equal(c.admitted, 777);
		client_table_destroy(c.t);
	}
}

/* Come and go, four clients and ever new strangers, in a table that has no room for all. */
static void *come_and_go(void *arg)
{
	struct crowd *c = arg;
	uint32_t random = 1;

	pthread_barrier_wait(&c->start);
	for (uint32_t i = 0; i < 5000; i++) {
		struct address a = numbered(i % 4);
		struct address stranger = numbered(100 + (random >> 8));

		random = random * 1664525 + 1013904223;
		visit(c->t, &stranger, &once, START + i);
		if (client_table_enter(c->t, &a, &c->limits, START + i) != CLIENT_ADMITTED)
			continue;
		c->admitted++;
		if (++c->open[i % 4] > c->limits.max_connections)
			c->broken = true;
		c->open[i % 4]--; /* before it is free to be taken */
		client_table_leave(c->t, &a);
	}
	return NULL;
}

static void test_threads_that_come_and_go_never_exceed_the_limit(void **state)
{
	static const size_t capacities[] = { THREADS + 4, 8192 };
	static const struct client_limits l = { .max_connections = 2 };

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(capacities); n++) {
		struct crowd c = { .t = table(capacities[n]), .limits = l };

		run_threads(&c, come_and_go);
		assert_false(c.broken);
		assert_true(c.admitted > 0);
		assert_true(client_table_count(c.t) <= capacities[n]);
		for (uint32_t i = 0; i < 4; i++) { /* all have left */
			struct address a = numbered(i);

			for (unsigned k = 0; k < 2; k++)
				assert_int_equal(client_table_enter(c.t, &a, &l, START + SECOND),
						 CLIENT_ADMITTED);
			assert_int_equal(client_table_enter(c.t, &a, &l, START + SECOND),
					 CLIENT_TOO_MANY);
		}
		client_table_destroy(c.t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_so_many_connections_and_not_one_more),
		cmocka_unit_test(test_a_burst_and_then_one_by_one),
		cmocka_unit_test(test_a_bucket_fills_up_to_the_burst),
		cmocka_unit_test(test_a_rate_is_never_exceeded_by_rounding),
		cmocka_unit_test(test_a_refusal_takes_no_token),
		cmocka_unit_test(test_no_limits_admit_everybody),
		cmocka_unit_test(test_the_largest_numbers),
		cmocka_unit_test(test_time_that_seems_to_go_back_gives_nothing),
		cmocka_unit_test(test_another_number_of_connections_counts_at_once),
		cmocka_unit_test(test_a_smaller_bucket_is_at_most_empty),
		cmocka_unit_test(test_connections_that_came_without_a_limit_are_counted),
		cmocka_unit_test(test_an_ipv6_network_of_64_bits_is_one_client),
		cmocka_unit_test(test_an_ipv4_address_is_one_client),
		cmocka_unit_test(test_the_families_are_strangers),
		cmocka_unit_test(test_who_has_no_address_is_not_tracked),
		cmocka_unit_test(test_who_has_been_quiet_for_longest_is_forgotten),
		cmocka_unit_test(test_an_attempt_is_not_quiet_and_nor_is_a_leave),
		cmocka_unit_test(test_a_client_with_a_connection_is_never_forgotten),
		cmocka_unit_test(test_a_table_full_of_connections_admits_strangers),
		cmocka_unit_test(test_who_has_nothing_to_be_remembered_is_forgotten),
		cmocka_unit_test(test_a_large_table_is_as_large_as_it_was_told),
		cmocka_unit_test(test_a_million_clients_leave_no_trace),
		cmocka_unit_test(test_a_table_for_which_there_is_no_memory),
		cmocka_unit_test(test_threads_together_get_what_one_would),
		cmocka_unit_test(test_threads_that_come_and_go_never_exceed_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
