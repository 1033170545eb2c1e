/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/address.h"
#include "base/bug.h"
#include "base/cidr_set.h"
#include "conf/config.h"
#include "lib/exact_copy.h"
#include "session/access.h"

#define DENIED      "the client is in clients.deny"
#define NOT_ALLOWED "the client is not in clients.allow"
#define NO_ENDPOINT "the header names no VPC endpoint"
#define NOT_LISTED  "the VPC endpoint is not in clients.vpc_endpoints"

/* What a header may carry, as literals. */
#define NOTHING   ""
#define NOOP      "\x04\0\x02xx"
#define ENDPOINT  "\xea\0\x17\x01vpce-08d2bf15fac5001c9"
#define STRANGER  "\xea\0\x17\x01vpce-08d2bf15fac5001c8"
#define OTHER_AWS "\xea\0\x17\x02vpce-08d2bf15fac5001c9"

static char listed[] = "vpce-08d2bf15fac5001c9";
static char listed_too[] = "vpce-1";
static char *endpoints[] = { listed_too, listed };

static struct cidr_set *set(const char *text)
{
	struct cidr_set *s = cidr_set_create();
	char why[CIDR_ERROR_MAX];
	struct cidr c;

	assert_int_equal(cidr_parse(text, &c, why), 0);
	assert_int_equal(cidr_set_add(s, &c), 0);
	cidr_set_seal(s);
	return s;
}

/* Why is it refused? NULL: it is not. */
static const char *ask(const struct listener_config *config, const struct address *client,
		       const void *tlvs, size_t size, const char **ret_hint)
{
	static const char untouched[] = "untouched";
	const char *reason = untouched;
	uint8_t *exact = exact_copy(tlvs, size);
	bool allowed;

	*ret_hint = untouched;
	allowed = access_is_allowed(config, client, exact, size, &reason, ret_hint);
	free(exact);
	assert_true(allowed == (reason == untouched));
	assert_true(allowed == (*ret_hint == untouched));
	return allowed ? NULL : reason;
}

static void assert_answer(const char *expected, const char *reason)
{
	if (expected == NULL)
		assert_null(reason);
	else
		assert_string_equal(reason, expected);
}

static void assert_client(const struct listener_config *config, const char *client,
			  const char *expected)
{
	struct address a;
	const char *hint;

	assert_int_equal(address_parse_ip(client, &a), 0);
	assert_answer(expected, ask(config, &a, "", 0, &hint));
	if (expected != NULL)
		assert_null(hint);
}

static void assert_tlvs(const void *tlvs, size_t size, const char *expected)
{
	struct listener_config config = {
		.vpc_endpoints = endpoints,
		.vpc_endpoint_count = ARRAY_SIZE(endpoints),
	};
	struct address client = { .family = AF_INET, .ip = { 192, 0, 2, 1 } };
	const char *hint;

	assert_answer(expected, ask(&config, &client, tlvs, size, &hint));
}

#define ASSERT_TLVS(literal, expected) assert_tlvs(literal, sizeof(literal) - 1, expected)

/* --- addresses --- */

static void test_without_lists_everybody_is_welcome(void **state)
{
	static const struct listener_config config = { 0 };
	static const struct address nobody = { .family = AF_UNIX };
	const char *hint;

	(void)state;
	assert_client(&config, "192.0.2.1", NULL);
	assert_client(&config, "2001:db8::1", NULL);
	assert_null(ask(&config, &nobody, "", 0, &hint));
}

static void test_who_is_denied_is_refused(void **state)
{
	struct listener_config config = { .clients_deny = set("192.0.2.0/24") };

	(void)state;
	assert_client(&config, "192.0.2.0", DENIED);
	assert_client(&config, "192.0.2.255", DENIED);
	assert_client(&config, "192.0.3.0", NULL);
	assert_client(&config, "2001:db8::1", NULL);
	cidr_set_destroy(config.clients_deny);
}

static void test_an_allow_list_refuses_all_others(void **state)
{
	struct listener_config config = { .clients_allow = set("192.0.2.0/24") };

	(void)state;
	assert_client(&config, "192.0.2.1", NULL);
	assert_client(&config, "192.0.3.1", NOT_ALLOWED);
	assert_client(&config, "2001:db8::1", NOT_ALLOWED);
	cidr_set_destroy(config.clients_allow);
}

static void test_deny_wins(void **state)
{
	struct listener_config config = {
		.clients_allow = set("192.0.2.0/24"),
		.clients_deny = set("192.0.2.128/25"),
	};

	(void)state;
	assert_client(&config, "192.0.2.127", NULL);
	assert_client(&config, "192.0.2.128", DENIED);
	assert_client(&config, "198.51.100.1", NOT_ALLOWED);
	cidr_set_destroy(config.clients_allow);
	cidr_set_destroy(config.clients_deny);
}

static void test_no_list_names_a_peer_on_a_unix_socket(void **state)
{
	struct listener_config denying = { .clients_deny = set("0.0.0.0/0") };
	struct listener_config allowing = { .clients_allow = set("0.0.0.0/0") };
	struct address client = { .family = AF_UNIX };
	const char *hint;

	(void)state;
	assert_null(ask(&denying, &client, "", 0, &hint));
	assert_answer(NOT_ALLOWED, ask(&allowing, &client, "", 0, &hint));
	assert_non_null(strstr(hint, "unix socket"));
	cidr_set_destroy(denying.clients_deny);
	cidr_set_destroy(allowing.clients_allow);
}

/* --- VPC endpoints --- */

static void test_a_listed_endpoint_is_welcome(void **state)
{
	(void)state;
	ASSERT_TLVS(ENDPOINT, NULL);
	ASSERT_TLVS(NOOP ENDPOINT NOOP, NULL);
	ASSERT_TLVS(OTHER_AWS ENDPOINT, NULL);
	ASSERT_TLVS("\xea\0\0" ENDPOINT, NULL);
	ASSERT_TLVS("\xea\0\x07\x01vpce-1", NULL);
}

static void test_an_endpoint_is_compared_byte_for_byte(void **state)
{
	(void)state;
	ASSERT_TLVS(STRANGER, NOT_LISTED);
	ASSERT_TLVS("\xea\0\x17\x01VPCE-08d2bf15fac5001c9", NOT_LISTED);
	ASSERT_TLVS("\xea\0\x16\x01vpce-08d2bf15fac5001c", NOT_LISTED);
	ASSERT_TLVS("\xea\0\x18\x01vpce-08d2bf15fac5001c9\0", NOT_LISTED);
	ASSERT_TLVS("\xea\0\x06\x01vpce-", NOT_LISTED);
	ASSERT_TLVS("\xea\0\x01\x01", NOT_LISTED);
}

static void test_the_first_endpoint_counts(void **state)
{
	(void)state;
	ASSERT_TLVS(STRANGER ENDPOINT, NOT_LISTED);
	ASSERT_TLVS(ENDPOINT STRANGER, NULL);
}

static void test_without_an_endpoint_nobody_is_welcome(void **state)
{
	(void)state;
	ASSERT_TLVS(NOTHING, NO_ENDPOINT);
	ASSERT_TLVS(NOOP, NO_ENDPOINT);
	ASSERT_TLVS(OTHER_AWS, NO_ENDPOINT);
	ASSERT_TLVS("\xea\0\0", NO_ENDPOINT);
	ASSERT_TLVS("\xee\0\x17\x01vpce-08d2bf15fac5001c9", NO_ENDPOINT);
}

static void test_health_checks_are_told_where_to_go(void **state)
{
	struct listener_config config = { .vpc_endpoints = endpoints, .vpc_endpoint_count = 1 };
	struct address peer = { .family = AF_INET, .ip = { 10, 0, 0, 1 } };
	const char *hint;

	(void)state;
	assert_answer(NO_ENDPOINT, ask(&config, &peer, "", 0, &hint));
	assert_non_null(strstr(hint, "LOCAL"));
	assert_non_null(strstr(hint, "/readyz"));
}

static void test_no_header_has_no_tlvs_to_point_at(void **state)
{
	struct listener_config config = { .vpc_endpoints = endpoints, .vpc_endpoint_count = 1 };
	struct address peer = { .family = AF_INET, .ip = { 10, 0, 0, 1 } };
	const char *reason, *hint;

	(void)state;
	assert_false(access_is_allowed(&config, &peer, NULL, 0, &reason, &hint));
	assert_answer(NO_ENDPOINT, reason);
}

/* An address that is allowed and one that is denied, through the same endpoint. */
static void test_address_and_endpoint_must_both_be_welcome(void **state)
{
	struct listener_config config = {
		.clients_deny = set("192.0.2.0/24"),
		.vpc_endpoints = endpoints,
		.vpc_endpoint_count = ARRAY_SIZE(endpoints),
	};
	struct address client = { .family = AF_INET, .ip = { 192, 0, 2, 1 } };
	const char *hint;

	(void)state;
	assert_answer(DENIED, ask(&config, &client, ENDPOINT, sizeof ENDPOINT - 1, &hint));
	client.ip[2] = 3;
	assert_null(ask(&config, &client, ENDPOINT, sizeof ENDPOINT - 1, &hint));
	assert_answer(NOT_LISTED, ask(&config, &client, STRANGER, sizeof STRANGER - 1, &hint));
	assert_null(hint);
	cidr_set_destroy(config.clients_deny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_lists_everybody_is_welcome),
		cmocka_unit_test(test_who_is_denied_is_refused),
		cmocka_unit_test(test_an_allow_list_refuses_all_others),
		cmocka_unit_test(test_deny_wins),
		cmocka_unit_test(test_no_list_names_a_peer_on_a_unix_socket),
		cmocka_unit_test(test_a_listed_endpoint_is_welcome),
		cmocka_unit_test(test_an_endpoint_is_compared_byte_for_byte),
		cmocka_unit_test(test_the_first_endpoint_counts),
		cmocka_unit_test(test_without_an_endpoint_nobody_is_welcome),
		cmocka_unit_test(test_health_checks_are_told_where_to_go),
		cmocka_unit_test(test_no_header_has_no_tlvs_to_point_at),
		cmocka_unit_test(test_address_and_endpoint_must_both_be_welcome),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
