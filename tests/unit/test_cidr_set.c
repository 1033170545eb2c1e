/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cidr_set.h"
#include "lib/test_fault.h"

#define LIST_SIZE 10000

static struct address ip(const char *text)
{
	struct address a;

	if (address_parse_ip(text, &a) != 0)
		fail_msg("%s is no address", text);
	return a;
}

static struct cidr cidr(const char *text)
{
	char why[CIDR_ERROR_MAX];
	struct cidr c = { .prefix = 0 };

	if (cidr_parse(text, &c, why) != 0)
		fail_msg("%s: %s", text, why);
	return c;
}

static void add(struct cidr_set *set, const char *text)
{
	struct cidr c = cidr(text);

	assert_int_equal(cidr_set_add(set, &c), 0);
}

static bool contains(const struct cidr_set *set, const char *text)
{
	struct address a = ip(text);

	return cidr_set_contains(set, &a);
}

/* --- parsing --- */

static void test_networks_are_read_and_written(void **state)
{
	static const struct {
		const char *text;
		const char *written;
	} cases[] = {
		{ "10.0.0.0/8", "10.0.0.0/8" },
		{ "10.1.2.3", "10.1.2.3/32" },
		{ "10.1.2.3/32", "10.1.2.3/32" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "128.0.0.0/1", "128.0.0.0/1" },
		{ "2001:db8::/32", "2001:db8::/32" },
		{ "2001:0DB8:0::/32", "2001:db8::/32" },
		{ "::1", "::1/128" },
		{ "::/0", "::/0" },
		{ "8000::/1", "8000::/1" },
		{ "2001:db8:0:1::/64", "2001:db8:0:1::/64" },
		{ "2001:db8:0:1:8000::/65", "2001:db8:0:1:8000::/65" },
		/* IPv4-mapped is IPv4 */
		{ "::ffff:10.1.2.3", "10.1.2.3/32" },
		{ "::ffff:10.0.0.0/104", "10.0.0.0/8" },
		{ "::ffff:0.0.0.0/96", "0.0.0.0/0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct cidr c = cidr(cases[i].text);
		char written[ADDRESS_TEXT_MAX];

		assert_int_equal(cidr_format(&c, written), strlen(cases[i].written));
		assert_string_equal(written, cases[i].written);
	}
}

static void test_refused_networks_say_why(void **state)
{
	static const char no_address[] = "not an IP address or network such as 10.0.0.0/8 or "
					 "2001:db8::/32";
	static const struct {
		const char *text;
		const char *why;
	} cases[] = {
		{ "10.0.0.0/33", "prefix length is 0 to 32" },
		{ "10.0.0.0/", "prefix length is 0 to 32" },
		{ "10.0.0.0/08", "prefix length is 0 to 32" },
		{ "10.0.0.0/-1", "prefix length is 0 to 32" },
		{ "10.0.0.0/+8", "prefix length is 0 to 32" },
		{ "10.0.0.0/8 ", "prefix length is 0 to 32" },
		{ "10.0.0.0/8/8", "prefix length is 0 to 32" },
		{ "10.0.0.0/255.0.0.0", "prefix length is 0 to 32" },
		{ "10.0.0.0/4294967304", "prefix length is 0 to 32" },
		{ "2001:db8::/129", "prefix length is 0 to 128" },
		{ "::ffff:10.0.0.0/8", "prefix length of an IPv4-mapped network is 96 to 128" },
		{ "10.0.0.1/8", "host bits are set; the network is 10.0.0.0/8" },
		{ "255.255.255.255/0", "host bits are set; the network is 0.0.0.0/0" },
		{ "10.0.0.1/31", "host bits are set; the network is 10.0.0.0/31" },
		{ "2001:db8::1/32", "host bits are set; the network is 2001:db8::/32" },
		{ "ffff::1/127", "host bits are set; the network is ffff::/127" },
		{ "::ffff:10.0.0.1/104", "host bits are set; the network is 10.0.0.0/8" },
		{ "", no_address },
		{ "/8", no_address },
		{ "10.0.0/8", no_address },
		{ "10.0.0.0.0/8", no_address },
		{ "010.0.0.0/8", no_address },
		{ " 10.0.0.0/8", no_address },
		{ "10.0.0.0:80", no_address },
		{ "fe80::1%eth0/64", no_address },
		{ "[::1]/128", no_address },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd/8",
		  no_address },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct cidr c = { .prefix = 77 };
		char why[CIDR_ERROR_MAX] = "";

		if (cidr_parse(cases[i].text, &c, why) != -EINVAL || strcmp(why, cases[i].why) != 0)
			fail_msg("\"%s\": %s", cases[i].text, why);
		assert_int_equal(c.prefix, 77);
	}
}

/* --- sets --- */

static void test_a_set_contains_exactly_its_networks(void **state)
{
	struct cidr_set *set = cidr_set_create();

	(void)state;
	add(set, "10.0.0.0/24");
	add(set, "192.0.2.7");
	add(set, "2001:db8:1::/48");
	cidr_set_seal(set);
	assert_true(contains(set, "10.0.0.0"));
	assert_true(contains(set, "10.0.0.255"));
	assert_false(contains(set, "9.255.255.255"));
	assert_false(contains(set, "10.0.1.0"));
	assert_true(contains(set, "192.0.2.7"));
	assert_false(contains(set, "192.0.2.6"));
	assert_false(contains(set, "192.0.2.8"));
	assert_true(contains(set, "2001:db8:1::"));
	assert_true(contains(set, "2001:db8:1:ffff:ffff:ffff:ffff:ffff"));
	assert_false(contains(set, "2001:db8:0:ffff:ffff:ffff:ffff:ffff"));
	assert_false(contains(set, "2001:db8:2::"));
	cidr_set_destroy(set);
}

static void test_an_empty_set_contains_nothing(void **state)
{
	struct cidr_set *set = cidr_set_create();

	(void)state;
	cidr_set_seal(set);
	assert_false(contains(set, "0.0.0.0"));
	assert_false(contains(set, "::"));
	assert_false(cidr_set_is_open(set, AF_INET));
	assert_int_equal(cidr_set_count(set), 0);
	cidr_set_destroy(set);
	cidr_set_destroy(NULL);
}

static void test_ipv4_mapped_peers_count_as_ipv4(void **state)
{
	struct cidr_set *set = cidr_set_create();

	(void)state;
	add(set, "::ffff:10.0.0.0/104");
	cidr_set_seal(set);
	assert_true(contains(set, "10.1.2.3"));
	assert_true(contains(set, "::ffff:10.1.2.3"));
	assert_false(contains(set, "::ffff:11.1.2.3"));
	cidr_set_destroy(set);
}

static void test_all_of_ipv6_is_nothing_of_ipv4(void **state)
{
	struct cidr_set *set = cidr_set_create();

	(void)state;
	add(set, "::/0");
	cidr_set_seal(set);
	assert_true(contains(set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
	assert_false(contains(set, "10.0.0.1"));
	assert_false(contains(set, "::ffff:10.0.0.1"));
	cidr_set_destroy(set);
}

static void test_peers_without_an_ip_are_in_no_set(void **state)
{
	struct address unix_peer = { .family = AF_UNIX };
	struct address nobody = { .family = AF_UNSPEC };
	struct cidr_set *set = cidr_set_create();

	(void)state;
	add(set, "0.0.0.0/0");
	add(set, "::/0");
	cidr_set_seal(set);
	assert_false(cidr_set_contains(set, &unix_peer));
	assert_false(cidr_set_contains(set, &nobody));
	cidr_set_destroy(set);
}

static void assert_ranges(const struct cidr_set *set, const char *expected)
{
	char all[1024] = "";
	char range[CIDR_RANGE_TEXT_MAX];

	for (size_t i = 0; i < cidr_set_count(set); i++) {
		size_t size = cidr_set_format_range(set, i, range);

		assert_int_equal(size, strlen(range));
		strcat(all, range);
		strcat(all, " ");
	}
	assert_string_equal(all, expected);
}

static void test_sealing_merges_what_overlaps_or_adjoins(void **state)
{
	static const struct {
		const char *networks[6];
		const char *merged;
	} cases[] = {
		{ { "10.0.0.0/24", "10.0.0.0/24" }, "10.0.0.0/24 " },
		{ { "10.0.0.0/8", "10.1.0.0/16", "10.0.0.1" }, "10.0.0.0/8 " },
		{ { "10.1.0.0/16", "10.0.0.0/8" }, "10.0.0.0/8 " },
		{ { "10.0.1.0/24", "10.0.0.0/24" }, "10.0.0.0/23 " },
		{ { "10.0.1.0/24", "10.0.2.0/24" }, "10.0.1.0-10.0.2.255 " },
		{ { "10.0.0.5", "10.0.0.6", "10.0.0.8" }, "10.0.0.5-10.0.0.6 10.0.0.8/32 " },
		{ { "10.0.2.0/24", "10.0.0.0/24" }, "10.0.0.0/24 10.0.2.0/24 " },
		{ { "128.0.0.0/1", "0.0.0.0/1" }, "0.0.0.0/0 " },
		{ { "255.255.255.255", "255.255.255.254" }, "255.255.255.254/31 " },
		{ { "::/1", "8000::/1" }, "::/0 " },
		{ { "2001:db8:0:1::/64", "2001:db8::/64" }, "2001:db8::/63 " },
		{ { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::" },
		  "::/128 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128 " },
		{ { "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::" },
		  "2001:db8::ffff:ffff:ffff:ffff-2001:db8:0:1:: " },
		/* the end of IPv4 does not adjoin anything of IPv6 */
		{ { "255.255.255.255", "::/128", "::1:0:0/128" },
		  "255.255.255.255/32 ::/128 ::1:0:0/128 " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct cidr_set *set = cidr_set_create();

		for (size_t j = 0; cases[i].networks[j] != NULL; j++)
			add(set, cases[i].networks[j]);
		cidr_set_seal(set);
		assert_ranges(set, cases[i].merged);
		cidr_set_destroy(set);
	}
}

static void test_open_sets_are_told_from_almost_open_ones(void **state)
{
	struct cidr_set *open = cidr_set_create();
	struct cidr_set *almost = cidr_set_create();

	(void)state;
	add(open, "0.0.0.0/1");
	add(open, "128.0.0.0/1");
	cidr_set_seal(open);
	assert_true(cidr_set_is_open(open, AF_INET));
	assert_false(cidr_set_is_open(open, AF_INET6));
	add(almost, "::/1");
	add(almost, "8000::/2");
	add(almost, "10.0.0.0/8");
	cidr_set_seal(almost);
	assert_false(cidr_set_is_open(almost, AF_INET));
	assert_false(cidr_set_is_open(almost, AF_INET6));
	cidr_set_destroy(open);
	cidr_set_destroy(almost);
}

static void test_a_set_can_be_added_to_another(void **state)
{
	struct cidr_set *list = cidr_set_create();
	struct cidr_set *set = cidr_set_create();

	(void)state;
	add(list, "10.0.0.0/24");
	add(list, "2001:db8::/32");
	add(set, "10.0.1.0/24");
	assert_int_equal(cidr_set_add_set(set, list), 0);
	assert_int_equal(cidr_set_count(set), 3);
	cidr_set_seal(list);
	assert_int_equal(cidr_set_add_set(set, list), 0);
	cidr_set_seal(set);
	assert_ranges(set, "10.0.0.0/23 2001:db8::/32 ");
	assert_ranges(list, "10.0.0.0/24 2001:db8::/32 ");
	cidr_set_destroy(set);
	cidr_set_destroy(list);
}

static void test_a_set_survives_running_out_of_memory(void **state)
{
	struct cidr c = cidr("10.0.0.0/24");
	struct cidr c6 = cidr("2001:db8::/32");
	struct cidr_set *list = cidr_set_create();
	unsigned fail_at = 0;
	bool failed;

	(void)state;
	add(list, "10.0.9.0/24");
	add(list, "2001:db8::/32");
	do {
		struct cidr_set *set;

		fault_arm(fail_at++);
		set = cidr_set_create();
		if (set != NULL) {
			unsigned added = cidr_set_add(set, &c) == 0;

			added += cidr_set_add(set, &c6) == 0;
			added += cidr_set_add_set(set, list) == 0 ? 2 : 0;
			assert_int_equal(cidr_set_count(set), added);
		}
		failed = fault_disarm();
		cidr_set_destroy(set);
	} while (failed);
	assert_int_equal(fail_at, 4); /* the set, IPv4, IPv6, and then none */
	cidr_set_destroy(list);
}

/* --- against the definition --- */

static bool bit(const struct address *a, unsigned i)
{
	return (a->ip[i / 8] >> (7 - i % 8) & 1) != 0;
}

/* Straight from RFC 4632: the first `prefix` bits agree. */
static bool is_inside(const struct cidr *c, const struct address *a)
{
	if (c->network.family != a->family)
		return false;
	for (unsigned i = 0; i < c->prefix; i++)
		if (bit(&c->network, i) != bit(a, i))
			return false;
	return true;
}

static bool is_inside_any(const struct cidr *list, size_t count, const struct address *a)
{
	for (size_t i = 0; i < count; i++)
		if (is_inside(&list[i], a))
			return true;
	return false;
}

/* A network with a random prefix; IPv4 stays in 10.0.0.0/8 so that many meet. */
static struct cidr random_cidr(unsigned *seed)
{
	bool v6 = rand_r(seed) % 2 == 0;
	unsigned bits = v6 ? 128 : 32;
	struct cidr c = { .network = { .family = v6 ? AF_INET6 : AF_INET } };

	c.prefix = (uint8_t)(bits - rand_r(seed) % (v6 ? 80 : 12));
	for (unsigned i = 0; i < bits / 8; i++)
		c.network.ip[i] = (uint8_t)rand_r(seed);
	c.network.ip[0] = v6 ? 0x20 : 10;
	for (unsigned i = c.prefix; i < bits; i++)
		c.network.ip[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	return c;
}

/* One less, or one more, as a number; wraps. */
static void step(struct address *a, int by)
{
	for (size_t i = address_ip_size(a); i-- > 0;) {
		uint8_t before = a->ip[i];

		a->ip[i] = (uint8_t)(before + by);
		if (before != (by > 0 ? 0xff : 0x00))
			return;
	}
}

static struct address last_of(const struct cidr *c)
{
	struct address a = c->network;

	for (unsigned i = c->prefix; i < address_ip_size(&a) * 8; i++)
		a.ip[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return a;
}

static void test_lookup_agrees_with_the_definition_at_every_boundary(void **state)
{
	static struct cidr list[LIST_SIZE];
	struct cidr_set *set = cidr_set_create();
	unsigned seed = 20260427;
	unsigned inside = 0;

	(void)state;
	for (size_t i = 0; i < LIST_SIZE; i++) {
		list[i] = random_cidr(&seed);
		assert_int_equal(cidr_set_add(set, &list[i]), 0);
	}
	cidr_set_seal(set);
	assert_in_range(cidr_set_count(set), 1, LIST_SIZE - 1); /* some did merge */
	/* Both sides of both ends of 500 networks: 2,000 lookups against 10,000 networks each. */
	for (size_t i = 0; i < LIST_SIZE; i += 20) {
		struct address at[4] = { list[i].network, list[i].network, last_of(&list[i]),
					 last_of(&list[i]) };

		step(&at[0], -1);
		step(&at[3], 1);
		for (size_t j = 0; j < 4; j++) {
			bool expected = is_inside_any(list, LIST_SIZE, &at[j]);

			assert_int_equal(cidr_set_contains(set, &at[j]), expected);
			inside += expected;
		}
	}
	assert_in_range(inside, 1000, 1999); /* the outsides were looked up, too */
	cidr_set_destroy(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_networks_are_read_and_written),
		cmocka_unit_test(test_refused_networks_say_why),
		cmocka_unit_test(test_a_set_contains_exactly_its_networks),
		cmocka_unit_test(test_an_empty_set_contains_nothing),
		cmocka_unit_test(test_ipv4_mapped_peers_count_as_ipv4),
		cmocka_unit_test(test_all_of_ipv6_is_nothing_of_ipv4),
		cmocka_unit_test(test_peers_without_an_ip_are_in_no_set),
		cmocka_unit_test(test_sealing_merges_what_overlaps_or_adjoins),
		cmocka_unit_test(test_open_sets_are_told_from_almost_open_ones),
		cmocka_unit_test(test_a_set_can_be_added_to_another),
		cmocka_unit_test(test_a_set_survives_running_out_of_memory),
		cmocka_unit_test(test_lookup_agrees_with_the_definition_at_every_boundary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
