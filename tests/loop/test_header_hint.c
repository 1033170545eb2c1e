/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/exact_copy.h"
#include "lib/header_vectors.h"
#include "session/header_hint.h"

/* First bytes, and what the hint says they look like; NULL: no hint. */
static const struct {
	const char *bytes;
	size_t size;
	const char *looks_like;
} cases[] = {
#define CASE(bytes, looks_like)                      \
	{                                            \
		bytes, sizeof(bytes) - 1, looks_like \
	}
	CASE("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
	CASE("\x16\x03", "TLS"),
	CASE("SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
	CASE("GET / HTTP/1.1\r\n", "HTTP"),
	CASE("HEAD / HTTP/1.1\r\n", "HTTP"),
	CASE("POST /form HTTP/1.1\r\n", "HTTP"),
	CASE("PUT / HTTP/1.1\r\n", "HTTP"),
	CASE("DELETE / HTTP/1.1\r\n", "HTTP"),
	CASE("OPTIONS * HTTP/1.1\r\n", "HTTP"),
	CASE("PATCH / HTTP/1.1\r\n", "HTTP"),
	CASE("CONNECT host:443 HTTP/1.1\r\n", "HTTP"),
	CASE("TRACE / HTTP/1.1\r\n", "HTTP"),
	CASE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
	CASE("\x16\x02", NULL),
	CASE("\x16", NULL),
	CASE("GETTING", NULL),
	CASE("get / HTTP/1.1\r\n", NULL),
	CASE("PRI * ", NULL),
	CASE("QUIT\r\n", NULL),
	CASE("\0\0\0\x08\x04\xd2\x16\x2f", NULL), /* PostgreSQL asks for TLS */
	CASE("", NULL),
#undef CASE
};

static void test_protocols_are_known_by_their_first_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *exact = exact_copy(cases[i].bytes, cases[i].size);
		const char *hint = header_hint_for_bytes(exact, cases[i].size);

		free(exact);
		if (cases[i].looks_like == NULL) {
			assert_null(hint);
			continue;
		}
		assert_non_null(hint);
		assert_memory_equal(hint, "looks like ", 11);
		assert_memory_equal(hint + 11, cases[i].looks_like, strlen(cases[i].looks_like));
	}
}

/* The first bytes of a protocol, cut short, are never read past their end and make no hint. */
static void test_too_few_bytes_are_no_hint(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *exact = exact_copy(cases[i].bytes, 1);

		assert_null(header_hint_for_bytes(exact, 1));
		free(exact);
	}
}

static void test_a_stranger_with_a_whole_header_gets_a_hint(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++) {
		const struct good_header *h = &good_headers[i];

		for (size_t n = 0; n <= h->size; n++) {
			uint8_t *exact = exact_copy(h->bytes, n);
			const char *hint = header_hint_for_untrusted(exact, n);

			free(exact);
			if (n < h->size)
				assert_null(hint);
			else
				assert_non_null(strstr(hint, "preserve_client_ip"));
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad_headers); i++)
		assert_null(header_hint_for_untrusted((const uint8_t *)bad_headers[i].bytes,
						      bad_headers[i].size));
}

static void test_silence_and_our_own_host_have_a_hint(void **state)
{
	(void)state;
	assert_non_null(strstr(header_hint_for_silence(), "first payload"));
	assert_non_null(strstr(header_hint_for_own_host(), "this host itself"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_protocols_are_known_by_their_first_bytes),
		cmocka_unit_test(test_too_few_bytes_are_no_hint),
		cmocka_unit_test(test_a_stranger_with_a_whole_header_gets_a_hint),
		cmocka_unit_test(test_silence_and_our_own_host_have_a_hint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
