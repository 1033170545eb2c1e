/* SPDX-License-Identifier: MIT */
/* The binary form: what lib/header_vectors.h does not say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "lib/exact_copy.h"
#include "lib/header_vectors.h"
#include "wire/tlv.h"

#define MAX 4096

static const struct good_header *vector(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++)
		if (strcmp(good_headers[i].name, name) == 0)
			return &good_headers[i];
	print_error("no header is named %s\n", name);
	abort();
}

static struct proxy_header parsed(const char *name)
{
	const struct good_header *v = vector(name);
	struct proxy_header h;
	enum header_error why;

	assert_int_equal(proxy_header_parse((const uint8_t *)v->bytes, v->size, MAX, &h, &why),
			 PARSE_DONE);
	return h;
}

/* A header of @length bytes in all, LOCAL, its end filled with zeros. The caller frees. */
static uint8_t *local_of(size_t length)
{
	uint8_t *bytes = calloc(1, length);

	memcpy(bytes, V2 "\x20", 13);
	bytes[14] = (length - PROXY_V2_FIXED) >> 8;
	bytes[15] = (length - PROXY_V2_FIXED) & 0xff;
	return bytes;
}

static void test_the_largest_header_is_taken(void **state)
{
	uint8_t *bytes = local_of(PROXY_HEADER_MAX);
	struct proxy_header h;
	enum header_error why;

	(void)state;
	assert_int_equal(
	    proxy_header_parse(bytes, PROXY_HEADER_MAX - 1, PROXY_HEADER_MAX, &h, &why),
	    PARSE_MORE);
	assert_int_equal(proxy_header_parse(bytes, PROXY_HEADER_MAX, PROXY_HEADER_MAX, &h, &why),
			 PARSE_DONE);
	assert_int_equal(h.length, PROXY_HEADER_MAX);
	free(bytes);
}

/* The length is enough: nobody has to send, or buffer, the rest. */
static void test_a_header_beyond_the_maximum_is_refused_with_its_length(void **state)
{
	static const size_t maxima[] = { PROXY_V1_MAX, 1000, MAX, PROXY_HEADER_MAX - 1 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(maxima); i++) {
		uint8_t *bytes = local_of(maxima[i]);
		struct proxy_header h;
		enum header_error why = HEADER_OK;

		assert_int_equal(proxy_header_parse(bytes, maxima[i], maxima[i], &h, &why),
				 PARSE_DONE);
		free(bytes);
		bytes = local_of(maxima[i] + 1);
		assert_int_equal(proxy_header_parse(bytes, 15, maxima[i], &h, &why), PARSE_MORE);
		assert_int_equal(proxy_header_parse(bytes, 16, maxima[i], &h, &why), PARSE_BAD);
		assert_int_equal(why, HEADER_TOO_LONG);
		free(bytes);
	}
}

static void test_every_version_command_and_family_is_judged(void **state)
{
	(void)state;
	for (unsigned version_command = 0; version_command < 256; version_command++) {
		for (unsigned family = 0; family < 256; family++) {
			uint8_t bytes[PROXY_V2_FIXED + 2 * PROXY_UNIX_PATH] = V2;
			bool family_ok = family >> 4 <= 3 && (family & 0xf) <= 2;
			bool good =
			    version_command == 0x20 || (version_command == 0x21 && family_ok);
			struct proxy_header h;
			enum header_error why;

			bytes[12] = version_command;
			bytes[13] = family;
			bytes[15] = 2 * PROXY_UNIX_PATH;
			assert_int_equal(proxy_header_parse(bytes, sizeof bytes, MAX, &h, &why),
					 good ? PARSE_DONE : PARSE_BAD);
			if (good)
				assert_int_equal(h.length, sizeof bytes);
			else
				assert_int_equal(why, version_command >> 4 != 2 ? HEADER_BAD_VERSION
						      : version_command == 0x21
							  ? HEADER_BAD_FAMILY
							  : HEADER_BAD_COMMAND);
		}
	}
}

static void test_each_family_needs_room_for_its_addresses(void **state)
{
	static const size_t sizes[] = { 0, 12, 36, 216 };

	(void)state;
	for (unsigned family = 0; family < 4; family++) {
		for (unsigned transport = 1; transport < 3; transport++) {
			uint8_t bytes[PROXY_V2_FIXED + 216] = V2 "\x21";
			struct proxy_header h;
			enum header_error why = HEADER_OK;

			bytes[13] = family << 4 | transport;
			bytes[15] = sizes[family];
			assert_int_equal(proxy_header_parse(bytes, sizeof bytes, MAX, &h, &why),
					 PARSE_DONE);
			assert_int_equal(h.length, PROXY_V2_FIXED + sizes[family]);
			if (family == PROXY_FAMILY_UNSPEC)
				continue;
			bytes[15]--;
			assert_int_equal(proxy_header_parse(bytes, sizeof bytes, MAX, &h, &why),
					 PARSE_BAD);
			assert_int_equal(why, HEADER_SHORT);
		}
	}
}

static void test_unix_paths_are_borrowed_from_the_input(void **state)
{
	const struct good_header *v = vector("v2-unix");
	struct proxy_header h = parsed("v2-unix");

	(void)state;
	assert_ptr_equal(h.unix_source, v->bytes + PROXY_V2_FIXED);
	assert_ptr_equal(h.unix_destination, v->bytes + PROXY_V2_FIXED + PROXY_UNIX_PATH);
	assert_string_equal((const char *)h.unix_source, "/run/app.sock");
	assert_memory_equal(h.unix_destination, "\0abstract", 10);
	assert_null(parsed("v2-tcp4").unix_source);
	assert_null(parsed("v2-unix-unspec").unix_source);
}

static void test_datagram_headers_have_their_addresses(void **state)
{
	struct proxy_header udp4 = parsed("v2-udp4");
	struct proxy_header tcp4 = parsed("v2-tcp4");

	(void)state;
	assert_int_equal(udp4.transport, PROXY_TRANSPORT_DGRAM);
	assert_memory_equal(&udp4.source, &tcp4.source, sizeof tcp4.source);
}

/* Every datagram has a header of its own, and the parser remembers nothing. */
static void test_datagrams_are_parsed_on_their_own(void **state)
{
	struct proxy_header first = parsed("v2-udp4");
	struct proxy_header second = parsed("v2-udp6");
	struct proxy_header third = parsed("v2-udp4");

	(void)state;
	assert_int_equal(second.source.family, AF_INET6);
	assert_memory_equal(&first.source, &third.source, sizeof first.source);
}

/* An AWS health check: TLVs where LOCAL promises nothing, and no address though the family has one. */
static void test_local_is_skipped_by_its_length(void **state)
{
	struct proxy_header h = parsed("nlb-health-check");

	(void)state;
	assert_int_equal(h.command, PROXY_COMMAND_LOCAL);
	assert_int_equal(h.length, 100);
	assert_int_equal(h.source.family, AF_UNSPEC);
	assert_null(h.tlvs);
}

/* The sum itself is right: so this is how AWS computes it, field by field. */
static void test_the_checksum_of_the_nlb_health_check_is_right(void **state)
{
	uint8_t bytes[] = NLB_HEALTH_CHECK;
	uint32_t crc;

	(void)state;
	memset(bytes + 19, 0, 4);
	crc = crc32c(0, bytes, sizeof bytes - 1);
	assert_int_equal(crc, 0xbce5951f);
}

static void test_a_privatelink_connection_names_its_endpoint(void **state)
{
	struct proxy_header h = parsed("nlb-privatelink");
	struct tlv_iter it;
	struct tlv t;
	bool found = false;

	(void)state;
	assert_int_equal(h.length, 100);
	tlv_iter_init(&it, h.tlvs, h.tlvs_size);
	while (tlv_next(&it, &t)) {
		if (t.type != TLV_AWS)
			continue;
		found = true;
		assert_int_equal(t.size, 23);
		assert_memory_equal(t.value, "\1vpce-08d2bf15fac5001c9", 23);
	}
	assert_true(tlv_iter_ok(&it));
	assert_true(found);
}

static void test_any_changed_bit_breaks_the_checksum(void **state)
{
	static const char *const names[] = { "nlb-privatelink", "v2-crc32c-tcp4",
					     "v2-crc32c-tcp6-first-of-three" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct good_header *v = vector(names[i]);
		uint8_t *bytes = exact_copy(v->bytes, v->size);
		size_t addresses = v->family == PROXY_FAMILY_INET ? 12 : 36;

		for (size_t bit = 0; bit < 8 * addresses; bit++) {
			struct proxy_header h;
			enum header_error why = HEADER_OK;

			bytes[PROXY_V2_FIXED + bit / 8] ^= 1u << bit % 8;
			assert_int_equal(proxy_header_parse(bytes, v->size, MAX, &h, &why),
					 PARSE_BAD);
			assert_int_equal(why, HEADER_BAD_CRC);
			bytes[PROXY_V2_FIXED + bit / 8] ^= 1u << bit % 8;
		}
		free(bytes);
	}
}

static void test_the_input_is_only_read(void **state)
{
	const struct good_header *v = vector("v2-crc32c-tcp6-first-of-three");
	uint8_t *bytes = exact_copy(v->bytes, v->size);
	struct proxy_header h;
	enum header_error why;

	(void)state;
	assert_int_equal(proxy_header_parse(bytes, v->size, MAX, &h, &why), PARSE_DONE);
	assert_memory_equal(bytes, v->bytes, v->size);
	free(bytes);
}

static void test_a_checksum_is_computed_when_written(void **state)
{
	struct proxy_header h = parsed("v2-tcp6");
	const struct good_header *expected = vector("v2-crc32c-tcp6-first-of-three");
	static const uint8_t tlvs[] = "\x03\0\x04"
				      "????"
				      "\x01\0\x02h2"
				      "\x04\0\x02\0";
	uint8_t out[128];

	(void)state;
	h.tlvs = tlvs;
	h.tlvs_size = 17;
	assert_int_equal(proxy_header_encode(&h, out, sizeof out), expected->size);
	assert_memory_equal(out, expected->bytes, expected->size);
}

static void test_only_a_checksum_of_four_bytes_is_filled_in(void **state)
{
	struct proxy_header h = parsed("v2-tcp4");
	uint8_t out[64];
	enum header_error why = HEADER_OK;

	(void)state;
	h.tlvs = (const uint8_t *)"\x03\0\x02hi";
	h.tlvs_size = 5;
	assert_int_equal(proxy_header_encode(&h, out, sizeof out), 33);
	assert_memory_equal(out + 28, h.tlvs, 5);
	assert_int_equal(proxy_header_parse(out, 33, MAX, &h, &why), PARSE_BAD);
	assert_int_equal(why, HEADER_BAD_CRC_TLV);
}

static void test_unknown_is_written_as_proxy_without_a_family(void **state)
{
	struct proxy_header h = { .version = 2, .command = PROXY_COMMAND_UNKNOWN };
	uint8_t out[16];

	(void)state;
	assert_int_equal(proxy_header_encode(&h, out, sizeof out), 16);
	assert_memory_equal(out, V2 "\x21\0\0\0", 16);
}

static void test_local_is_written_without_family_and_addresses(void **state)
{
	struct proxy_header h = parsed("v2-tcp4");
	uint8_t out[16];

	(void)state;
	h.command = PROXY_COMMAND_LOCAL;
	assert_int_equal(proxy_header_encode(&h, out, sizeof out), 16);
	assert_memory_equal(out, V2 "\x20\0\0\0", 16);
}

static void test_addresses_of_another_family_are_not_written(void **state)
{
	struct proxy_header ipv4 = parsed("v2-tcp4");
	struct proxy_header ipv6 = parsed("v2-tcp6");
	struct proxy_header h = ipv4;
	uint8_t out[256];

	(void)state;
	h.source = ipv6.source;
	assert_int_equal(proxy_header_encode(&h, out, sizeof out), 0);
	h = ipv4;
	h.destination = (struct address){ 0 };
	assert_int_equal(proxy_header_encode(&h, out, sizeof out), 0);
	h = ipv4;
	h.family = PROXY_FAMILY_UNIX;
	assert_int_equal(proxy_header_encode(&h, out, sizeof out), 0);
	h.unix_source = (const uint8_t *)UNIX_PATHS;
	assert_int_equal(proxy_header_encode(&h, out, sizeof out), 0);
	h = ipv6;
	h.source = ipv4.source; /* fits, as a mapped address */
	assert_int_equal(proxy_header_encode(&h, out, sizeof out), 52);
}

static void test_the_longest_header_is_written_and_no_longer_one(void **state)
{
	uint8_t *tlvs = calloc(1, UINT16_MAX);
	uint8_t *out = malloc(PROXY_HEADER_MAX + 1);
	struct proxy_header h = parsed("v2-tcp4");

	(void)state;
	h.tlvs = tlvs;
	h.tlvs_size = UINT16_MAX - 12;
	assert_int_equal(proxy_header_encode(&h, out, PROXY_HEADER_MAX + 1), PROXY_HEADER_MAX);
	h.tlvs_size++;
	assert_int_equal(proxy_header_encode(&h, out, PROXY_HEADER_MAX + 1), 0);
	h.tlvs_size = SIZE_MAX;
	assert_int_equal(proxy_header_encode(&h, out, PROXY_HEADER_MAX + 1), 0);
	free(out);
	free(tlvs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_largest_header_is_taken),
		cmocka_unit_test(test_a_header_beyond_the_maximum_is_refused_with_its_length),
		cmocka_unit_test(test_every_version_command_and_family_is_judged),
		cmocka_unit_test(test_each_family_needs_room_for_its_addresses),
		cmocka_unit_test(test_unix_paths_are_borrowed_from_the_input),
		cmocka_unit_test(test_datagram_headers_have_their_addresses),
		cmocka_unit_test(test_datagrams_are_parsed_on_their_own),
		cmocka_unit_test(test_local_is_skipped_by_its_length),
		cmocka_unit_test(test_the_checksum_of_the_nlb_health_check_is_right),
		cmocka_unit_test(test_a_privatelink_connection_names_its_endpoint),
		cmocka_unit_test(test_any_changed_bit_breaks_the_checksum),
		cmocka_unit_test(test_the_input_is_only_read),
		cmocka_unit_test(test_a_checksum_is_computed_when_written),
		cmocka_unit_test(test_only_a_checksum_of_four_bytes_is_filled_in),
		cmocka_unit_test(test_unknown_is_written_as_proxy_without_a_family),
		cmocka_unit_test(test_local_is_written_without_family_and_addresses),
		cmocka_unit_test(test_addresses_of_another_family_are_not_written),
		cmocka_unit_test(test_the_longest_header_is_written_and_no_longer_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
