/* SPDX-License-Identifier: MIT */
/* The limits, and to whom they apply. */
#include "unit/client_table_fixture.h"

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
