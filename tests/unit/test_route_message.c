/* SPDX-License-Identifier: MIT */
/* Messages of our own making are known again, and so is what other programs made to the same effect. What is but
 * similar is neither. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "route/route_message.h"

#define MARK  7700
#define TABLE 7701

static uint32_t buffer[ROUTE_MESSAGE_MAX / sizeof(uint32_t)];

static struct nlmsghdr *our_rule(void)
{
	return route_message_rule(buffer, RTM_NEWRULE, AF_INET6, MARK, TABLE);
}

static struct nlmsghdr *our_route(void)
{
	return route_message_route(buffer, RTM_NEWROUTE, AF_INET6, TABLE);
}

static struct fib_rule_hdr *rule_header(struct nlmsghdr *h)
{
	return mnl_nlmsg_get_payload(h);
}

static struct rtmsg *route_header(struct nlmsghdr *h)
{
	return mnl_nlmsg_get_payload(h);
}

/* The last of several attributes of one type counts. */
static enum route_state rule_with(uint16_t attribute, uint32_t value)
{
	struct nlmsghdr *h = our_rule();

	mnl_attr_put_u32(h, attribute, value);
	return route_message_match_rule(h, MARK, TABLE);
}

static enum route_state route_with(uint16_t attribute, uint32_t value)
{
	struct nlmsghdr *h = our_route();

	mnl_attr_put_u32(h, attribute, value);
	return route_message_match_route(h, TABLE);
}

/* --- ours --- */

static void test_our_rule_is_known_again(void **state)
{
	(void)state;
	assert_int_equal(route_message_match_rule(our_rule(), MARK, TABLE), ROUTE_OURS);
	assert_int_equal(rule_header(our_rule())->family, AF_INET6);
	assert_int_equal(rule_with(FRA_SUPPRESS_PREFIXLEN, UINT32_MAX), ROUTE_OURS);
}

static void test_our_route_is_known_again(void **state)
{
	(void)state;
	assert_int_equal(route_message_match_route(our_route(), TABLE), ROUTE_OURS);
	assert_int_equal(route_header(our_route())->rtm_family, AF_INET6);
	assert_int_equal(route_with(RTA_PRIORITY, 1024), ROUTE_OURS);
}

static void test_nothing_is_made_twice(void **state)
{
	(void)state;
	assert_true(our_rule()->nlmsg_flags & NLM_F_EXCL);
	assert_true(our_route()->nlmsg_flags & NLM_F_EXCL);
}

static void test_the_greatest_numbers_arrive(void **state)
{
	(void)state;
	route_message_rule(buffer, RTM_NEWRULE, AF_INET, UINT32_MAX, UINT32_MAX);
	assert_int_equal(route_message_match_rule((void *)buffer, UINT32_MAX, UINT32_MAX),
			 ROUTE_OURS);
	route_message_route(buffer, RTM_NEWROUTE, AF_INET, UINT32_MAX);
	assert_int_equal(route_message_match_route((void *)buffer, UINT32_MAX), ROUTE_OURS);
}

/* --- made by somebody else, to the same effect: recorded from Linux 6.18 --- */

/* ip -6 rule add fwmark 7700 lookup 7700 */
static const uint8_t recorded_rule[] = { 0x4c, 0x00, 0x00, 0x00, 0x20, 0x00, 0x02, 0x00, 0x01, 0x00,
					 0x00, 0x00, 0x2f, 0x15, 0x00, 0x00, 0x0a, 0x00, 0x00, 0x00,
					 0xfc, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00,
					 0x0f, 0x00, 0x14, 0x1e, 0x00, 0x00, 0x08, 0x00, 0x0e, 0x00,
					 0xff, 0xff, 0xff, 0xff, 0x05, 0x00, 0x15, 0x00, 0x00, 0x00,
					 0x00, 0x00, 0x08, 0x00, 0x06, 0x00, 0xfd, 0x7f, 0x00, 0x00,
					 0x08, 0x00, 0x0a, 0x00, 0x14, 0x1e, 0x00, 0x00, 0x08, 0x00,
					 0x10, 0x00, 0xff, 0xff, 0xff, 0xff };

/* ip route add local default dev lo table 7700 */
static const uint8_t recorded_route[] = { 0x2c, 0x00, 0x00, 0x00, 0x18, 0x00, 0x02, 0x00, 0x01,
					  0x00, 0x00, 0x00, 0x2f, 0x15, 0x00, 0x00, 0x02, 0x00,
					  0x00, 0x00, 0xfc, 0x03, 0xfe, 0x02, 0x00, 0x00, 0x00,
					  0x00, 0x08, 0x00, 0x0f, 0x00, 0x14, 0x1e, 0x00, 0x00,
					  0x08, 0x00, 0x04, 0x00, 0x01, 0x00, 0x00, 0x00 };

static void test_a_rule_of_ip_is_present_and_not_ours(void **state)
{
	const struct nlmsghdr *h = memcpy(buffer, recorded_rule, sizeof recorded_rule);

	(void)state;
	if (htonl(1) == 1)
		skip(); /* recorded on a little-endian machine */
	assert_int_equal(route_message_match_rule(h, 7700, 7700), ROUTE_PRESENT);
	assert_int_equal(route_message_match_rule(h, 7701, 7700), ROUTE_MISSING);
	assert_int_equal(route_message_match_rule(h, 7700, 7701), ROUTE_MISSING);
}

static void test_a_route_of_ip_is_present_and_not_ours(void **state)
{
	const struct nlmsghdr *h = memcpy(buffer, recorded_route, sizeof recorded_route);

	(void)state;
	if (htonl(1) == 1)
		skip();
	assert_int_equal(route_message_match_route(h, 7700), ROUTE_PRESENT);
	assert_int_equal(route_message_match_route(h, 7701), ROUTE_MISSING);
}

static void test_a_rule_of_another_priority_is_not_ours(void **state)
{
	(void)state;
	assert_int_equal(rule_with(FRA_PRIORITY, 76), ROUTE_PRESENT);
	assert_int_equal(rule_with(FRA_PRIORITY, 32765), ROUTE_PRESENT);
}

/* --- other rules and routes --- */

static void test_a_rule_behind_that_of_the_main_table_has_no_effect(void **state)
{
	(void)state;
	assert_int_equal(rule_with(FRA_PRIORITY, 32766), ROUTE_MISSING);
}

static void test_a_rule_for_other_packets_is_another_one(void **state)
{
	struct nlmsghdr *h;

	(void)state;
	assert_int_equal(rule_with(FRA_FWMARK, MARK + 1), ROUTE_MISSING);
	assert_int_equal(rule_with(FRA_FWMASK, 0xffff), ROUTE_MISSING);
	assert_int_equal(rule_with(FRA_TABLE, TABLE + 1), ROUTE_MISSING);
	assert_int_equal(rule_with(FRA_L3MDEV, 1), ROUTE_MISSING);
	assert_int_equal(rule_with(FRA_SUPPRESS_PREFIXLEN, 0), ROUTE_MISSING);
	assert_int_equal(rule_with(FRA_SUPPRESS_IFGROUP, 1), ROUTE_MISSING);

	h = our_rule();
	mnl_attr_put_strz(h, FRA_IIFNAME, "lo");
	assert_int_equal(route_message_match_rule(h, MARK, TABLE), ROUTE_MISSING);
	h = our_rule();
	rule_header(h)->flags = FIB_RULE_INVERT;
	assert_int_equal(route_message_match_rule(h, MARK, TABLE), ROUTE_MISSING);
	h = our_rule();
	rule_header(h)->src_len = 8;
	assert_int_equal(route_message_match_rule(h, MARK, TABLE), ROUTE_MISSING);
	h = our_rule();
	rule_header(h)->dst_len = 8;
	assert_int_equal(route_message_match_rule(h, MARK, TABLE), ROUTE_MISSING);
	h = our_rule();
	rule_header(h)->tos = 0x10;
	assert_int_equal(route_message_match_rule(h, MARK, TABLE), ROUTE_MISSING);
	h = our_rule();
	rule_header(h)->action = FR_ACT_UNREACHABLE;
	assert_int_equal(route_message_match_rule(h, MARK, TABLE), ROUTE_MISSING);
}

static void test_a_route_elsewhere_is_another_one(void **state)
{
	struct nlmsghdr *h;

	(void)state;
	assert_int_equal(route_with(RTA_TABLE, TABLE + 1), ROUTE_MISSING);
	assert_int_equal(route_with(RTA_OIF, 2), ROUTE_MISSING);

	h = our_route();
	route_header(h)->rtm_type = RTN_UNICAST;
	assert_int_equal(route_message_match_route(h, TABLE), ROUTE_MISSING);
	h = our_route();
	route_header(h)->rtm_dst_len = 8;
	assert_int_equal(route_message_match_route(h, TABLE), ROUTE_MISSING);
	h = our_route();
	route_header(h)->rtm_src_len = 8;
	assert_int_equal(route_message_match_route(h, TABLE), ROUTE_MISSING);
	h = our_route();
	route_header(h)->rtm_tos = 0x10;
	assert_int_equal(route_message_match_route(h, TABLE), ROUTE_MISSING);
}

static void test_other_messages_are_neither(void **state)
{
	struct nlmsghdr *h = our_rule();

	(void)state;
	assert_int_equal(route_message_match_route(h, TABLE), ROUTE_MISSING);
	h = our_route();
	assert_int_equal(route_message_match_rule(h, MARK, TABLE), ROUTE_MISSING);
	h = our_rule();
	h->nlmsg_len = NLMSG_LENGTH(sizeof(struct fib_rule_hdr) - 1);
	assert_int_equal(route_message_match_rule(h, MARK, TABLE), ROUTE_MISSING);
	h = our_route();
	h->nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg) - 1);
	assert_int_equal(route_message_match_route(h, TABLE), ROUTE_MISSING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_our_rule_is_known_again),
		cmocka_unit_test(test_our_route_is_known_again),
		cmocka_unit_test(test_nothing_is_made_twice),
		cmocka_unit_test(test_the_greatest_numbers_arrive),
		cmocka_unit_test(test_a_rule_of_ip_is_present_and_not_ours),
		cmocka_unit_test(test_a_route_of_ip_is_present_and_not_ours),
		cmocka_unit_test(test_a_rule_of_another_priority_is_not_ours),
		cmocka_unit_test(test_a_rule_behind_that_of_the_main_table_has_no_effect),
		cmocka_unit_test(test_a_rule_for_other_packets_is_another_one),
		cmocka_unit_test(test_a_route_elsewhere_is_another_one),
		cmocka_unit_test(test_other_messages_are_neither),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
