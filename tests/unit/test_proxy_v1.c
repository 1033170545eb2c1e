/* SPDX-License-Identifier: MIT */
/* The text form: what lib/header_vectors.h does not say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/proxy_header.h"

#define MAX 4096

static struct address address(const char *text)
{
	struct address a;
	const char *why;

	assert_int_equal(address_parse(text, &a, &why), 0);
	return a;
}

static struct proxy_header parsed(const char *line)
{
	struct proxy_header h;
	enum header_error why;

	assert_int_equal(proxy_header_parse((const uint8_t *)line, strlen(line), MAX, &h, &why),
			 PARSE_DONE);
	return h;
}

static void assert_written(const struct proxy_header *h, const char *expected)
{
	uint8_t out[PROXY_V1_MAX + 1] = { 0 };

	assert_int_equal(proxy_header_encode(h, out, sizeof out), strlen(expected));
	assert_string_equal((const char *)out, expected);
}

static void test_unknown_has_no_addresses_whatever_the_line_says(void **state)
{
	struct proxy_header h = parsed("PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n");

	(void)state;
	assert_int_equal(h.command, PROXY_COMMAND_UNKNOWN);
	assert_int_equal(h.source.family, AF_UNSPEC);
	assert_int_equal(h.destination.family, AF_UNSPEC);
}

/* 107 bytes with CRLF are the limit, whatever max_header_bytes allows to v2. */
static void test_107_bytes_are_the_limit(void **state)
{
	(void)state;
	for (int padding = 80; padding < 100; padding++) {
		char line[256];
		size_t size = sprintf(line, "PROXY UNKNOWN %0*d\r\n", padding, 0);
		struct proxy_header h;
		enum header_error why = HEADER_OK;
		enum parse p =
		    proxy_header_parse((const uint8_t *)line, size, PROXY_HEADER_MAX, &h, &why);

		assert_int_equal(p, size <= 107 ? PARSE_DONE : PARSE_BAD);
		assert_int_equal(why, size <= 107 ? HEADER_OK : HEADER_TOO_LONG);
	}
}

static void test_the_smallest_maximum_still_takes_every_line(void **state)
{
	static const char line[] = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
				   "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
	struct proxy_header h;
	enum header_error why;

	(void)state;
	assert_int_equal(
	    proxy_header_parse((const uint8_t *)line, sizeof line - 1, PROXY_V1_MAX, &h, &why),
	    PARSE_DONE);
	assert_int_equal(h.length, PROXY_V1_MAX);
}

static void test_lines_are_written_as_they_were_read(void **state)
{
	static const char *const lines[] = {
		"PROXY TCP4 192.0.2.1 203.0.113.7 0 65535\r\n",
		"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n",
		"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n",
		"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:203.0.113.7 1 2\r\n",
		"PROXY UNKNOWN\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct proxy_header h = parsed(lines[i]);

		assert_written(&h, lines[i]);
	}
}

static void test_what_v1_cannot_say_is_unknown(void **state)
{
	static const struct {
		enum proxy_command command;
		enum proxy_family family;
		enum proxy_transport transport;
		const char *source;
		const char *destination;
	} cases[] = {
		{ PROXY_COMMAND_LOCAL, PROXY_FAMILY_INET, PROXY_TRANSPORT_STREAM, "192.0.2.1:1",
		  "192.0.2.2:2" },
		{ PROXY_COMMAND_PROXY, PROXY_FAMILY_INET, PROXY_TRANSPORT_DGRAM, "192.0.2.1:1",
		  "192.0.2.2:2" },
		{ PROXY_COMMAND_PROXY, PROXY_FAMILY_UNSPEC, PROXY_TRANSPORT_STREAM, "192.0.2.1:1",
		  "192.0.2.2:2" },
		{ PROXY_COMMAND_PROXY, PROXY_FAMILY_INET, PROXY_TRANSPORT_STREAM, "192.0.2.1:1",
		  "[2001:db8::1]:2" },
		{ PROXY_COMMAND_PROXY, PROXY_FAMILY_INET, PROXY_TRANSPORT_STREAM, "[2001:db8::1]:1",
		  "192.0.2.2:2" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct proxy_header h = {
			.version = 1,
			.command = cases[i].command,
			.family = cases[i].family,
			.transport = cases[i].transport,
			.source = address(cases[i].source),
			.destination = address(cases[i].destination),
		};

		assert_written(&h, "PROXY UNKNOWN\r\n");
	}
}

static void test_without_addresses_it_is_unknown(void **state)
{
	struct proxy_header h = {
		.version = 1,
		.command = PROXY_COMMAND_PROXY,
		.family = PROXY_FAMILY_INET6,
		.transport = PROXY_TRANSPORT_STREAM,
		.source = address("192.0.2.1:1"),
	};

	(void)state;
	assert_written(&h, "PROXY UNKNOWN\r\n");
	h.destination = h.source;
	h.source = (struct address){ 0 };
	assert_written(&h, "PROXY UNKNOWN\r\n");
}

static void test_tlvs_are_left_out(void **state)
{
	struct proxy_header h = parsed("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");

	(void)state;
	h.tlvs = (const uint8_t *)"\x01\0\x02h2";
	h.tlvs_size = 5;
	assert_written(&h, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unknown_has_no_addresses_whatever_the_line_says),
		cmocka_unit_test(test_107_bytes_are_the_limit),
		cmocka_unit_test(test_the_smallest_maximum_still_takes_every_line),
		cmocka_unit_test(test_lines_are_written_as_they_were_read),
		cmocka_unit_test(test_what_v1_cannot_say_is_unknown),
		cmocka_unit_test(test_without_addresses_it_is_unknown),
		cmocka_unit_test(test_tlvs_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
