/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "obs/outcome.h"

/* Dashboards and scrapers depend on these: the list of the contract, typed a second time. */
static void test_names_are_those_of_the_contract(void **state)
{
	static const char names[] =
	    "probe untrusted_source header_timeout header_missing header_malformed header_too_long "
	    "header_crc header_version client_address client_denied client_limit listener_limit "
	    "closed_in_header family_mismatch bind_failed upstream_refused upstream_timeout "
	    "upstream_error finished client_reset upstream_reset idle_timeout shutdown ";
	const char *at = names;

	(void)state;
	for (int i = 0; i < OUTCOME_COUNT; i++) {
		size_t size = strcspn(at, " ");

		assert_int_equal(strlen(outcome_name(i)), size);
		assert_memory_equal(outcome_name(i), at, size);
		at += size + 1;
	}
	assert_string_equal(at, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_those_of_the_contract),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
