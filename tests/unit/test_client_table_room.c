/* SPDX-License-Identifier: MIT */
/* Who is remembered where there is not room for all, and many threads that ask. */
#include "unit/client_table_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "lib/test_fault.h"

#define THREADS 8

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
