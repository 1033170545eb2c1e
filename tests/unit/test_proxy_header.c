/* SPDX-License-Identifier: MIT */
/* What both versions have in common, over all headers of lib/header_vectors.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/exact_copy.h"
#include "lib/header_vectors.h"

#define MAX 4096 /* the default of max_header_bytes */

static void assert_address(const struct address *a, const char *expected)
{
	char text[ADDRESS_TEXT_MAX];

	address_format(a, text);
	assert_string_equal(text, expected);
}

static void assert_is(const struct proxy_header *h, const struct good_header *expected)
{
	assert_int_equal(h->length, expected->size);
	assert_int_equal(h->version, expected->version);
	assert_int_equal(h->command, expected->command);
	assert_int_equal(h->family, expected->family);
	assert_int_equal(h->transport, expected->transport);
	assert_address(&h->source, expected->source);
	assert_address(&h->destination, expected->destination);
	assert_int_equal(h->tlvs_size, expected->tlvs_size);
}

/* A header may arrive in any two pieces: every shorter prefix asks for more. */
static void test_a_header_is_found_at_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++) {
		const struct good_header *good = &good_headers[i];

		for (size_t n = 0; n <= good->size; n++) {
			uint8_t *exact = exact_copy(good->bytes, n);
			struct proxy_header h = { .version = 77 };
			enum header_error why = HEADER_OK;
			enum parse p = proxy_header_parse(exact, n, MAX, &h, &why);

			if (p != (n < good->size ? PARSE_MORE : PARSE_DONE))
				fail_msg("%s: %d at %zu of %zu bytes: %s", good->name, p, n,
					 good->size, header_error_text(why));
			if (n == good->size)
				assert_is(&h, good);
			else
				assert_int_equal(h.version, 77);
			assert_int_equal(why, HEADER_OK);
			free(exact);
		}
	}
}

static void test_what_follows_a_header_is_payload(void **state)
{
	static const char *const payloads[] = {
		"\n", "\r", "P", "GET / HTTP/1.1\r\n\r\n", "PROXY UNKNOWN\r\n", V2
	};
	uint8_t both[MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++) {
		const struct good_header *good = &good_headers[i];

		for (size_t j = 0; j < ARRAY_SIZE(payloads); j++) {
			struct proxy_header h;
			enum header_error why;

			memcpy(both, good->bytes, good->size);
			memcpy(both + good->size, payloads[j], strlen(payloads[j]));
			assert_int_equal(proxy_header_parse(both, good->size + strlen(payloads[j]),
							    MAX, &h, &why),
					 PARSE_DONE);
			assert_is(&h, good);
		}
	}
}

static void test_a_second_header_is_payload(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++) {
		const struct good_header *good = &good_headers[i];
		uint8_t twice[MAX];
		struct proxy_header h;
		enum header_error why;

		memcpy(twice, good->bytes, good->size);
		memcpy(twice + good->size, good->bytes, good->size);
		assert_int_equal(proxy_header_parse(twice, 2 * good->size, MAX, &h, &why),
				 PARSE_DONE);
		assert_is(&h, good);
	}
}

/* Bad is bad from the byte on that made it so, for the same reason whatever follows. */
static void test_a_bad_header_is_refused_at_once_and_for_the_same_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_headers); i++) {
		const struct bad_header *bad = &bad_headers[i];

		for (size_t n = 0; n <= bad->size; n++) {
			uint8_t *exact = exact_copy(bad->bytes, n);
			struct proxy_header h = { .version = 77 };
			enum header_error why = HEADER_OK;
			enum parse p = proxy_header_parse(exact, n, MAX, &h, &why);

			if (p != (n < bad->found_at ? PARSE_MORE : PARSE_BAD) ||
			    why != (n < bad->found_at ? HEADER_OK : bad->error))
				fail_msg("%s: %d at %zu of %zu bytes: %s", bad->name, p, n,
					 bad->size, header_error_text(why));
			assert_int_equal(h.version, 77);
			free(exact);
		}
	}
}

static void test_every_first_byte_but_two_is_refused(void **state)
{
	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		uint8_t first = byte;
		bool fits = byte == 'P' || byte == '\r';
		struct proxy_header h;
		enum header_error why = HEADER_OK;

		assert_int_equal(proxy_header_parse(&first, 1, MAX, &h, &why),
				 fits ? PARSE_MORE : PARSE_BAD);
		assert_int_equal(why, fits ? HEADER_OK : HEADER_NO_SIGNATURE);
		assert_int_equal(proxy_signature_match(&first, 1), fits ? PARSE_MORE : PARSE_BAD);
	}
}

static void test_a_signature_is_matched_as_far_as_it_is_there(void **state)
{
	(void)state;
	assert_int_equal(proxy_signature_match(NULL, 0), PARSE_MORE);
	for (size_t n = 1; n < 6; n++)
		assert_int_equal(proxy_signature_match((const uint8_t *)"PROXY ", n), PARSE_MORE);
	assert_int_equal(proxy_signature_match((const uint8_t *)"PROXY ", 6), PARSE_DONE);
	assert_int_equal(proxy_signature_match((const uint8_t *)"PROXY 123456789", 15), PARSE_DONE);
	for (size_t n = 1; n < 12; n++)
		assert_int_equal(proxy_signature_match((const uint8_t *)V2, n), PARSE_MORE);
	assert_int_equal(proxy_signature_match((const uint8_t *)V2, 12), PARSE_DONE);
	assert_int_equal(proxy_signature_match((const uint8_t *)V2 "x", 13), PARSE_DONE);
	assert_int_equal(proxy_signature_match((const uint8_t *)"PROXX", 5), PARSE_BAD);
	assert_int_equal(proxy_signature_match((const uint8_t *)"\r\n\r\n\r", 5), PARSE_BAD);
}

static void assert_same(const struct proxy_header *a, const struct proxy_header *b)
{
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->command, b->command);
	assert_int_equal(a->family, b->family);
	assert_int_equal(a->transport, b->transport);
	assert_memory_equal(&a->source, &b->source, sizeof a->source);
	assert_memory_equal(&a->destination, &b->destination, sizeof a->destination);
	assert_int_equal(a->unix_source != NULL, b->unix_source != NULL);
	if (a->unix_source != NULL) {
		assert_memory_equal(a->unix_source, b->unix_source, PROXY_UNIX_PATH);
		assert_memory_equal(a->unix_destination, b->unix_destination, PROXY_UNIX_PATH);
	}
	assert_int_equal(a->tlvs_size, b->tlvs_size);
	if (a->tlvs_size > 0)
		assert_memory_equal(a->tlvs, b->tlvs, a->tlvs_size);
}

static void test_what_was_read_can_be_written_and_read_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++) {
		const uint8_t *bytes = (const uint8_t *)good_headers[i].bytes;
		uint8_t out[MAX];
		struct proxy_header h;
		struct proxy_header again;
		enum header_error why;
		size_t size;

		assert_int_equal(proxy_header_parse(bytes, good_headers[i].size, MAX, &h, &why),
				 PARSE_DONE);
		size = proxy_header_encode(&h, out, sizeof out);
		assert_int_not_equal(size, 0);
		assert_int_equal(proxy_header_parse(out, size, MAX, &again, &why), PARSE_DONE);
		assert_int_equal(again.length, size);
		assert_same(&h, &again);
	}
}

static void test_nothing_is_written_where_it_does_not_fit(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++) {
		const uint8_t *bytes = (const uint8_t *)good_headers[i].bytes;
		uint8_t out[MAX];
		struct proxy_header h;
		enum header_error why;
		size_t whole;

		assert_int_equal(proxy_header_parse(bytes, good_headers[i].size, MAX, &h, &why),
				 PARSE_DONE);
		whole = proxy_header_encode(&h, out, sizeof out);
		for (size_t n = 0; n <= whole; n++) {
			uint8_t *exact = exact_copy(out, n);

			assert_int_equal(proxy_header_encode(&h, exact, n), n < whole ? 0 : whole);
			free(exact);
		}
	}
}

static void test_every_error_and_command_has_its_words(void **state)
{
	(void)state;
#define X(code, text) assert_string_equal(header_error_text(code), text);
	HEADER_ERROR_MAP(X)
#undef X
	assert_string_equal(proxy_command_name(PROXY_COMMAND_NONE), "NONE");
	assert_string_equal(proxy_command_name(PROXY_COMMAND_PROXY), "PROXY");
	assert_string_equal(proxy_command_name(PROXY_COMMAND_LOCAL), "LOCAL");
	assert_string_equal(proxy_command_name(PROXY_COMMAND_UNKNOWN), "UNKNOWN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_header_is_found_at_every_split),
		cmocka_unit_test(test_what_follows_a_header_is_payload),
		cmocka_unit_test(test_a_second_header_is_payload),
		cmocka_unit_test(test_a_bad_header_is_refused_at_once_and_for_the_same_reason),
		cmocka_unit_test(test_every_first_byte_but_two_is_refused),
		cmocka_unit_test(test_a_signature_is_matched_as_far_as_it_is_there),
		cmocka_unit_test(test_what_was_read_can_be_written_and_read_again),
		cmocka_unit_test(test_nothing_is_written_where_it_does_not_fit),
		cmocka_unit_test(test_every_error_and_command_has_its_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
