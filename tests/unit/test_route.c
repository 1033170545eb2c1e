/* SPDX-License-Identifier: MIT */
/* What each family needs, and the commands to paste. tests/integration/test_routes.py has what the kernel makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/socket.h>

#include "base/strbuf.h"
#include "route/route.h"

static void all(struct route_status *s, enum route_state state)
{
	for (enum route_part p = 0; p < ROUTE_PARTS; p++)
		s->parts[p].state = state;
}

static void test_a_family_needs_its_own_parts_and_the_shared_one(void **state)
{
	(void)state;
	for (enum route_part p = 0; p < ROUTE_PARTS; p++) {
		struct route_status s = { 0 };

		all(&s, ROUTE_PRESENT);
		s.parts[p].state = ROUTE_MISSING;
		assert_int_equal(route_status_is_complete(&s, AF_INET), p > ROUTE_IPV4_REFLECT);
		assert_int_equal(route_status_is_complete(&s, AF_INET6),
				 p < ROUTE_IPV6_RULE && p != ROUTE_TCP_FWMARK_ACCEPT);
		assert_false(route_status_is_complete(&s, AF_UNSPEC));
	}
}

static void test_what_somebody_else_made_is_as_good_as_ours(void **state)
{
	struct route_status s = { 0 };

	(void)state;
	all(&s, ROUTE_OURS);
	assert_true(route_status_is_complete(&s, AF_UNSPEC));
	all(&s, ROUTE_PRESENT);
	assert_true(route_status_is_complete(&s, AF_UNSPEC));
	all(&s, ROUTE_UNKNOWN);
	assert_false(route_status_is_complete(&s, AF_UNSPEC));
}

static void test_ipv6_may_be_off_unless_it_is_asked_for(void **state)
{
	struct route_status s = { 0 };

	(void)state;
	all(&s, ROUTE_OURS);
	for (enum route_part p = ROUTE_IPV6_RULE; p < ROUTE_PARTS; p++)
		s.parts[p].state = ROUTE_OFF;
	assert_true(route_status_is_complete(&s, AF_UNSPEC));
	assert_true(route_status_is_complete(&s, AF_INET));
	assert_false(route_status_is_complete(&s, AF_INET6));
}

static void check_commands(enum route_part part, const char *add, const char *remove)
{
	char text[256];
	struct strbuf s;

	strbuf_init(&s, text, sizeof text);
	route_part_add_command(part, UINT32_MAX, 7700, &s);
	assert_string_equal(text, add);
	strbuf_init(&s, text, sizeof text);
	route_part_remove_command(part, UINT32_MAX, 7700, &s);
	assert_string_equal(text, remove);
}

static void test_commands_name_the_family_the_mark_and_the_table(void **state)
{
	(void)state;
	check_commands(ROUTE_IPV6_RULE,
		       "ip -6 rule add fwmark 4294967295 lookup 7700 priority 77 protocol 77",
		       "ip -6 rule del fwmark 4294967295 lookup 7700 priority 77 protocol 77");
	check_commands(ROUTE_IPV4_ROUTE, "ip route add local default dev lo table 7700 protocol 77",
		       "ip route del local default dev lo table 7700 protocol 77");
	check_commands(ROUTE_IPV4_REFLECT, "sysctl -w net.ipv4.fwmark_reflect=1",
		       "sysctl -w net.ipv4.fwmark_reflect=0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_family_needs_its_own_parts_and_the_shared_one),
		cmocka_unit_test(test_what_somebody_else_made_is_as_good_as_ours),
		cmocka_unit_test(test_ipv6_may_be_off_unless_it_is_asked_for),
		cmocka_unit_test(test_commands_name_the_family_the_mark_and_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
