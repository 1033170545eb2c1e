/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_writer.h"
#include "base/strbuf.h"
#include "lib/exact_copy.h"
#include "lib/header_vectors.h"
#include "wire/tlv.h"

/* A string literal as bytes, without its terminating zero */
#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

static void assert_json(const uint8_t *tlvs, size_t size, const char *expected)
{
	char text[2048];
	struct strbuf out;
	struct json_writer w;
	uint8_t *exact = exact_copy(tlvs, size);

	strbuf_init(&out, text, sizeof text);
	json_writer_init(&w, &out);
	json_writer_open(&w, NULL, '{');
	tlv_write_json(exact, size, &w);
	json_writer_close(&w, '}');
	assert_false(out.cut);
	assert_string_equal(text, expected);
	assert_int_equal(tlv_worth_logging(exact, size), strcmp(expected, "{}") != 0);
	free(exact);
}

static void test_the_walk_gives_each_field_in_order(void **state)
{
	static const uint8_t bytes[] = "\x01\0\x02h2"
				       "\x04\0\0"
				       "\xff\x01\0";
	uint8_t *exact = calloc(1, 8 + 3 + 256);
	struct tlv_iter it;
	struct tlv t;

	(void)state;
	memcpy(exact, bytes, 11);
	tlv_iter_init(&it, exact, 8 + 3 + 256);
	assert_true(tlv_next(&it, &t));
	assert_int_equal(t.type, TLV_ALPN);
	assert_int_equal(t.size, 2);
	assert_memory_equal(t.value, "h2", 2);
	assert_true(tlv_next(&it, &t));
	assert_int_equal(t.type, TLV_NOOP);
	assert_int_equal(t.size, 0);
	assert_true(tlv_next(&it, &t));
	assert_int_equal(t.type, 0xff);
	assert_int_equal(t.size, 256);
	assert_ptr_equal(t.value, exact + 11);
	assert_false(tlv_next(&it, &t));
	assert_true(tlv_iter_ok(&it));
	free(exact);
}

static void test_nothing_is_a_sequence_too(void **state)
{
	struct tlv_iter it;
	struct tlv t;

	(void)state;
	tlv_iter_init(&it, NULL, 0);
	assert_false(tlv_next(&it, &t));
	assert_true(tlv_iter_ok(&it));
}

static void test_a_cut_sequence_fails_and_stays_failed(void **state)
{
	static const uint8_t bytes[] = "\x01\0\x02h2"
				       "\x02\0\x03"
				       "abc";

	(void)state;
	for (size_t n = 0; n < sizeof bytes; n++) {
		uint8_t *exact = exact_copy(bytes, n);
		struct tlv_iter it;
		struct tlv t;
		size_t found = 0;

		tlv_iter_init(&it, exact, n);
		while (tlv_next(&it, &t))
			found++;
		assert_int_equal(found, n < 5 ? 0 : n < 11 ? 1 : 2);
		assert_int_equal(tlv_iter_ok(&it), n == 0 || n == 5 || n == 11);
		assert_false(tlv_next(&it, &t));
		free(exact);
	}
}

static void test_ssl_flags_and_verify(void **state)
{
	static const struct {
		const char value[6];
		bool tls, cert_conn, cert_sess, verified;
	} cases[] = {
		{ "\x00\0\0\0\0", false, false, false, false },
		{ "\x01\0\0\0\0", true, false, false, false }, /* nothing to verify */
		{ "\x03\0\0\0\0", true, true, false, true },
		{ "\x05\0\0\0\0", true, false, true, true },
		{ "\x07\0\0\0\0", true, true, true, true },
		{ "\x03\0\0\0\1", true, true, false, false },
		{ "\x03\1\0\0\0", true, true, false, false },
		{ "\xf8\0\0\0\0", false, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tlv t = { TLV_SSL, 5, (const uint8_t *)cases[i].value };
		struct tlv_ssl ssl;
		struct tlv sub;

		assert_true(tlv_ssl_parse(&t, &ssl));
		assert_int_equal(ssl.tls, cases[i].tls);
		assert_int_equal(ssl.cert_conn, cases[i].cert_conn);
		assert_int_equal(ssl.cert_sess, cases[i].cert_sess);
		assert_int_equal(ssl.verified, cases[i].verified);
		assert_false(tlv_next(&ssl.sub, &sub));
		assert_true(tlv_iter_ok(&ssl.sub));
	}
}

static void test_ssl_of_less_than_five_bytes_is_none(void **state)
{
	(void)state;
	for (size_t n = 0; n < 5; n++) {
		uint8_t *exact = exact_copy("\x07\0\0\0", n);
		struct tlv t = { TLV_SSL, n, exact };
		struct tlv_ssl ssl;

		assert_false(tlv_ssl_parse(&t, &ssl));
		free(exact);
	}
}

static void test_append_writes_what_the_walk_reads(void **state)
{
	uint8_t out[32];
	struct tlv_iter it;
	struct tlv t;
	size_t used;

	(void)state;
	used = tlv_append(out, 0, sizeof out, TLV_ALPN, "h2", 2);
	assert_int_equal(used, 5);
	used = tlv_append(out, used, sizeof out, TLV_NOOP, NULL, 0);
	assert_int_equal(used, 8);
	assert_memory_equal(out, "\x01\0\x02h2\x04\0\0", 8);
	tlv_iter_init(&it, out, used);
	assert_true(tlv_next(&it, &t));
	assert_memory_equal(t.value, "h2", 2);
	assert_true(tlv_next(&it, &t));
	assert_int_equal(t.size, 0);
}

static void test_append_refuses_what_does_not_fit(void **state)
{
	static uint8_t value[UINT16_MAX + 1];
	static uint8_t out[UINT16_MAX + 16];

	(void)state;
	assert_int_equal(tlv_append(out, 0, 5, TLV_ALPN, "h2", 2), 5);
	for (size_t size = 0; size < 5; size++)
		assert_int_equal(tlv_append(out, 0, size, TLV_ALPN, "h2", 2), 0);
	assert_int_equal(tlv_append(out, 6, 10, TLV_ALPN, "h2", 2), 0);
	assert_int_equal(tlv_append(out, 0, sizeof out, TLV_NOOP, value, UINT16_MAX),
			 3 + UINT16_MAX);
	assert_int_equal(tlv_append(out, 0, sizeof out, TLV_NOOP, value, UINT16_MAX + 1), 0);
}

static void test_json_of_the_common_fields(void **state)
{
	(void)state;
	assert_json(BYTES("\x01\0\x02h2"
			  "\x02\0\x0b"
			  "example.com"
			  "\x05\0\x03\xca\xfe\x01"
			  "\x30\0\x02ns"),
		    "{\"alpn\":\"h2\",\"authority\":\"example.com\",\"unique_id\":\"cafe01\","
		    "\"netns\":\"ns\"}");
}

static void test_json_leaves_out_what_says_nothing(void **state)
{
	(void)state;
	assert_json(BYTES(""), "{}");
	assert_json(BYTES("\x03\0\x04\1\2\3\4"
			  "\x04\0\x02xx"
			  "\x04\0\0"),
		    "{}");
}

static void test_json_of_ssl(void **state)
{
	(void)state;
	assert_json(BYTES("\x20\0\x78" SSL_FULL),
		    "{\"ssl\":{\"version\":\"TLSv1.3\",\"cn\":\"example.com\","
		    "\"cipher\":\"ECDHE-RSA-AES128-GCM-SHA256\",\"sig_alg\":\"RSA-SHA256\","
		    "\"key_alg\":\"RSA2048\",\"group\":\"X25519\","
		    "\"sig_scheme\":\"rsa_pss_rsae_sha256\",\"client_cert\":true,"
		    "\"verified\":true}}");
	assert_json(BYTES("\x20\0\x05"
			  "\x01\0\0\0\x01"),
		    "{\"ssl\":{\"client_cert\":false,\"verified\":false}}");
	assert_json(BYTES("\x20\0\x05"
			  "\x04\0\0\0\x01"),
		    "{\"ssl\":{\"client_cert\":true,\"verified\":false}}");
}

static void test_json_of_unknown_fields_inside_ssl(void **state)
{
	(void)state;
	assert_json(BYTES("\x20\0\x0c"
			  "\x01\0\0\0\x01"
			  "\x29\0\x01\xab"
			  "\0\0\0"),
		    "{\"ssl\":{\"0x29\":\"ab\",\"0x00\":\"\",\"client_cert\":false,"
		    "\"verified\":false}}");
}

static void test_json_of_clouds(void **state)
{
	(void)state;
	assert_json(BYTES("\xea\0\x17\x01"
			  "vpce-08d2bf15fac5001c9"),
		    "{\"aws_vpce_id\":\"vpce-08d2bf15fac5001c9\"}");
	assert_json(BYTES("\xea\0\x02\x01v"), "{\"aws_vpce_id\":\"v\"}");
	assert_json(BYTES("\xee\0\x05\x01\x04\x03\x02\xff"), "{\"azure_link_id\":4278321924}");
	assert_json(BYTES("\xe0\0\x08\xff\xff\xff\xff\xff\xff\xff\xfe"),
		    "{\"gcp_psc_id\":\"18446744073709551614\"}");
}

static void test_json_of_clouds_with_another_subtype_or_size(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *json;
	} cases[] = {
		{ "\xea\0\0", 3, "{\"0xea\":\"\"}" },
		{ "\xea\0\x01\x01", 4, "{\"0xea\":\"01\"}" },
		{ "\xea\0\x02\x02x", 5, "{\"0xea\":\"0278\"}" },
		{ "\xee\0\0", 3, "{\"0xee\":\"\"}" },
		{ "\xee\0\x04\x01\1\2\3", 7, "{\"0xee\":\"01010203\"}" },
		{ "\xee\0\x05\x02\1\2\3\4", 8, "{\"0xee\":\"0201020304\"}" },
		{ "\xee\0\x06\x01\1\2\3\4\5", 9, "{\"0xee\":\"010102030405\"}" },
		{ "\xe0\0\x07"
		  "1234567",
		  10, "{\"0xe0\":\"31323334353637\"}" },
		{ "\xe0\0\x09"
		  "123456789",
		  12, "{\"0xe0\":\"313233343536373839\"}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_json((const uint8_t *)cases[i].bytes, cases[i].size, cases[i].json);
}

static void test_json_of_other_types_is_hex(void **state)
{
	(void)state;
	assert_json(BYTES("\0\0\0"
			  "\x21\0\x01\x0a"
			  "\xff\0\x02\xbe\xef"),
		    "{\"0x00\":\"\",\"0x21\":\"0a\",\"0xff\":\"beef\"}");
}

static void test_json_keys_are_unique_and_the_first_counts(void **state)
{
	(void)state;
	assert_json(BYTES("\x01\0\x02h2"
			  "\x01\0\x02h3"
			  "\xff\0\x01\x01"
			  "\xff\0\x01\x02"
			  "\x01\0\x02h4"),
		    "{\"alpn\":\"h2\",\"0xff\":\"01\"}");
	assert_json(BYTES("\x20\0\x0d"
			  "\x01\0\0\0\x01"
			  "\x22\0\x01"
			  "a"
			  "\x22\0\x01"
			  "b"),
		    "{\"ssl\":{\"cn\":\"a\",\"client_cert\":false,\"verified\":false}}");
}

static void test_json_escapes_what_came_from_the_wire(void **state)
{
	(void)state;
	assert_json(BYTES("\x02\0\x07"
			  "a\"\\\n\0\xff\xc3"),
		    "{\"authority\":\"a\\\"\\\\\\n\\u0000\xef\xbf\xbd\xef\xbf\xbd\"}");
}

static void test_json_of_damaged_bytes_ends_at_the_damage(void **state)
{
	(void)state;
	assert_json(BYTES("\x01\0\x02h2"
			  "\x02\0\x09"
			  "x"),
		    "{\"alpn\":\"h2\"}");
	assert_json(BYTES("\x20\0\x02"
			  "\x01\0"),
		    "{\"0x20\":\"0100\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_walk_gives_each_field_in_order),
		cmocka_unit_test(test_nothing_is_a_sequence_too),
		cmocka_unit_test(test_a_cut_sequence_fails_and_stays_failed),
		cmocka_unit_test(test_ssl_flags_and_verify),
		cmocka_unit_test(test_ssl_of_less_than_five_bytes_is_none),
		cmocka_unit_test(test_append_writes_what_the_walk_reads),
		cmocka_unit_test(test_append_refuses_what_does_not_fit),
		cmocka_unit_test(test_json_of_the_common_fields),
		cmocka_unit_test(test_json_leaves_out_what_says_nothing),
		cmocka_unit_test(test_json_of_ssl),
		cmocka_unit_test(test_json_of_unknown_fields_inside_ssl),
		cmocka_unit_test(test_json_of_clouds),
		cmocka_unit_test(test_json_of_clouds_with_another_subtype_or_size),
		cmocka_unit_test(test_json_of_other_types_is_hex),
		cmocka_unit_test(test_json_keys_are_unique_and_the_first_counts),
		cmocka_unit_test(test_json_escapes_what_came_from_the_wire),
		cmocka_unit_test(test_json_of_damaged_bytes_ends_at_the_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
