/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/address.h"

static struct address parsed(const char *text)
{
	struct address a;
	const char *why = NULL;

	if (address_parse(text, &a, &why) != 0)
		fail_msg("%s: %s", text, why);
	return a;
}

static void assert_text(const struct address *a, const char *expected, const char *expected_ip)
{
	char text[ADDRESS_TEXT_MAX];

	assert_int_equal(address_format(a, text), strlen(expected));
	assert_string_equal(text, expected);
	assert_int_equal(address_format_ip(a, text), strlen(expected_ip));
	assert_string_equal(text, expected_ip);
}

static void test_text_comes_back_as_it_went_in(void **state)
{
	static const struct {
		const char *text;
		const char *ip;
	} cases[] = {
		{ "192.0.2.1:80", "192.0.2.1" },
		{ "0.0.0.0:0", "0.0.0.0" },
		{ "255.255.255.255:65535", "255.255.255.255" },
		{ "[2001:db8::1]:443", "2001:db8::1" },
		{ "[::]:1", "::" },
		{ "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address a = parsed(cases[i].text);

		assert_text(&a, cases[i].text, cases[i].ip);
	}
}

static void test_addresses_without_ip_have_a_text_too(void **state)
{
	struct address a = { .family = AF_UNIX };

	(void)state;
	assert_text(&a, "unix:", "unix:");
	a.family = AF_UNSPEC;
	assert_text(&a, "", "");
}

static void test_mapped_addresses_are_the_ipv4_address(void **state)
{
	struct address a = parsed("[::ffff:192.0.2.1]:80");
	struct address b = parsed("192.0.2.1:80");

	(void)state;
	assert_memory_equal(&a, &b, sizeof a);
	assert_int_equal(address_parse_ip("::ffff:c000:201", &a), 0);
	b.port = 0;
	assert_memory_equal(&a, &b, sizeof a);
}

static void test_texts_that_are_no_address_say_why(void **state)
{
	static const struct {
		const char *text;
		const char *why;
	} cases[] = {
		{ "", "the port is missing" },
		{ "192.0.2.1", "the port is missing" },
		{ "[::1]", "the port is missing" },
		{ "[::1]80", "the port is missing" },
		{ "[::1:80", "the closing ] is missing" },
		{ "::1:80", "an IPv6 address stands in brackets, as in [2001:db8::1]:80" },
		{ "[192.0.2.1]:80", "not an IPv6 address in the brackets" },
		{ "[fe80::1%lo]:80", "not an IPv6 address in the brackets" },
		{ "[]:80", "not an IPv6 address in the brackets" },
		{ "localhost:80", "not an IPv4 address" },
		{ "192.0.2.01:80", "not an IPv4 address" },
		{ "192.0.2:80", "not an IPv4 address" },
		{ " 192.0.2.1:80", "not an IPv4 address" },
		{ ":80", "not an IPv4 address" },
		{ "1234567890123456789012345678901234567890123456:80", /* INET6_ADDRSTRLEN */
		  "not an IPv4 address" },
		{ "0000000000000000000000000000000000000000000000000000000001:80",
		  "not an IPv4 address" },
		{ "192.0.2.1:", "the port is a number from 0 to 65535" },
		{ "192.0.2.1:65536", "the port is a number from 0 to 65535" },
		{ "192.0.2.1:http", "the port is a number from 0 to 65535" },
		{ "192.0.2.1:80 ", "the port is a number from 0 to 65535" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address a = { .family = 77 };
		const char *why = NULL;

		assert_int_equal(address_parse(cases[i].text, &a, &why), -EINVAL);
		assert_string_equal(why, cases[i].why);
		assert_int_equal(a.family, 77);
	}
}

static void test_a_plain_ip_has_no_port_brackets_or_zone(void **state)
{
	static const char *const bad[] = { "",          "192.0.2.1:80", "[::1]",    "fe80::1%lo",
					   "192.0.2",   "1.2.3.4.5",    "1.2.3.4 ", "::1 ",
					   "localhost", "010.0.0.1" };
	struct address a = { .port = 9 };

	(void)state;
	assert_int_equal(address_parse_ip("10.0.0.1", &a), 0);
	assert_text(&a, "10.0.0.1:0", "10.0.0.1");
	assert_int_equal(address_parse_ip("2001:DB8::A", &a), 0);
	assert_text(&a, "[2001:db8::a]:0", "2001:db8::a");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(address_parse_ip(bad[i], &a), -EINVAL);
	assert_text(&a, "[2001:db8::a]:0", "2001:db8::a");
}

static void test_ports_are_plain_numbers(void **state)
{
	static const char *const bad[] = { "",           "00",  "01",    "+1",    "-1",
					   " 1",         "1 ",  "65536", "99999", "100000",
					   "4294967297", "0x1", "1.0" };
	uint16_t port = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(port_parse(bad[i], strlen(bad[i]), &port), -EINVAL);
	assert_int_equal(port, 7);
	assert_int_equal(port_parse("0", 1, &port), 0);
	assert_int_equal(port, 0);
	assert_int_equal(port_parse("65535", 5, &port), 0);
	assert_int_equal(port, 65535);
	assert_int_equal(port_parse("4431", 3, &port), 0); /* it ends where we say */
	assert_int_equal(port, 443);
}

static void test_sockaddr_there_and_back(void **state)
{
	static const char *const texts[] = { "192.0.2.1:80", "[2001:db8::1]:443" };
	const socklen_t sizes[] = { sizeof(struct sockaddr_in), sizeof(struct sockaddr_in6) };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct address a = parsed(texts[i]);
		struct address back;
		struct sockaddr_storage ss;

		assert_int_equal(address_to_sockaddr(&a, &ss), sizes[i]);
		address_from_sockaddr(&back, (const struct sockaddr *)&ss);
		assert_memory_equal(&a, &back, sizeof a);
	}
}

static void test_sockaddr_of_a_dual_stack_socket_is_ipv4(void **state)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
	struct address a;

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &in6.sin6_addr), 1);
	address_from_sockaddr(&a, (const struct sockaddr *)&in6);
	assert_text(&a, "192.0.2.1:80", "192.0.2.1");
}

static void test_sockaddr_of_other_families(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr other = { .sa_family = AF_NETLINK };
	struct address a;

	(void)state;
	address_from_sockaddr(&a, (const struct sockaddr *)&un);
	assert_int_equal(a.family, AF_UNIX);
	assert_int_equal(address_ip_size(&a), 0);
	address_from_sockaddr(&a, &other);
	assert_int_equal(a.family, AF_UNSPEC);
}

static void test_ports_do_not_count_for_the_same_ip(void **state)
{
	struct address a = parsed("192.0.2.1:80");
	struct address b = parsed("192.0.2.1:81");
	struct address c = parsed("192.0.2.2:80");
	struct address v6 = parsed("[c000:201::]:80"); /* begins with the same bytes */

	(void)state;
	assert_true(address_same_ip(&a, &b));
	assert_false(address_same_ip(&a, &c));
	assert_false(address_same_ip(&a, &v6));
}

static void test_loopback(void **state)
{
	static const char *const inside[] = { "127.0.0.1", "127.255.255.255", "::1",
					      "::ffff:127.0.0.1" };
	static const char *const outside[] = { "126.255.255.255", "128.0.0.0", "::", "::2",
					       "7f00::1" };
	struct address a = { .family = AF_UNIX };

	(void)state;
	assert_false(address_is_loopback(&a));
	for (size_t i = 0; i < ARRAY_SIZE(inside); i++) {
		assert_int_equal(address_parse_ip(inside[i], &a), 0);
		assert_true(address_is_loopback(&a));
	}
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		assert_int_equal(address_parse_ip(outside[i], &a), 0);
		assert_false(address_is_loopback(&a));
	}
}

/* @is holds for the addresses in @yes and for none in @no; both end with NULL. */
static void check_kind(bool (*is)(const struct address *a), const char *const *yes,
		       const char *const *no)
{
	struct address a = { .family = AF_UNIX };

	assert_false(is(&a));
	for (; *yes != NULL; yes++) {
		assert_int_equal(address_parse_ip(*yes, &a), 0);
		assert_true(is(&a));
	}
	for (; *no != NULL; no++) {
		assert_int_equal(address_parse_ip(*no, &a), 0);
		assert_false(is(&a));
	}
}

static void test_unspecified(void **state)
{
	static const char *const yes[] = { "0.0.0.0", "::", "::ffff:0.0.0.0", NULL };
	static const char *const no[] = { "0.0.0.1", "128.0.0.0", "::1", "8000::", NULL };

	(void)state;
	check_kind(address_is_unspecified, yes, no);
}

static void test_multicast(void **state)
{
	static const char *const yes[] = { "224.0.0.0", "239.255.255.255", "::ffff:224.0.0.1",
					   "ff00::",    "ff02::1",         NULL };
	static const char *const no[] = { "223.255.255.255", "240.0.0.0", "fe80::1", "::", NULL };

	(void)state;
	check_kind(address_is_multicast, yes, no);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_comes_back_as_it_went_in),
		cmocka_unit_test(test_addresses_without_ip_have_a_text_too),
		cmocka_unit_test(test_mapped_addresses_are_the_ipv4_address),
		cmocka_unit_test(test_texts_that_are_no_address_say_why),
		cmocka_unit_test(test_a_plain_ip_has_no_port_brackets_or_zone),
		cmocka_unit_test(test_ports_are_plain_numbers),
		cmocka_unit_test(test_sockaddr_there_and_back),
		cmocka_unit_test(test_sockaddr_of_a_dual_stack_socket_is_ipv4),
		cmocka_unit_test(test_sockaddr_of_other_families),
		cmocka_unit_test(test_ports_do_not_count_for_the_same_ip),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_unspecified),
		cmocka_unit_test(test_multicast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
