/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/json_writer.h"
#include "base/strbuf.h"

struct fixture {
	char text[4096];
	struct strbuf out;
	struct json_writer w;
};

static int setup(void **state)
{
	struct fixture *f = malloc(sizeof *f);

	strbuf_init(&f->out, f->text, sizeof f->text);
	json_writer_init(&f->w, &f->out);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void test_every_kind_of_value(void **state)
{
	struct fixture *f = *state;
	static const uint8_t bytes[] = { 0x00, 0x7f, 0xff };

	json_writer_open(&f->w, NULL, '{');
	json_writer_text(&f->w, "text", "words");
	json_writer_bytes(&f->w, "bytes", "wordsmith", 5);
	json_writer_hex(&f->w, "hex", bytes, sizeof bytes);
	json_writer_uint(&f->w, "uint", UINT64_MAX);
	json_writer_bool(&f->w, "yes", true);
	json_writer_bool(&f->w, "no", false);
	json_writer_null(&f->w, "null");
	json_writer_close(&f->w, '}');
	assert_string_equal(f->text, "{\"text\":\"words\",\"bytes\":\"words\",\"hex\":\"007fff\","
				     "\"uint\":18446744073709551615,\"yes\":true,\"no\":false,"
				     "\"null\":null}");
}

static void test_objects_and_arrays_nest(void **state)
{
	struct fixture *f = *state;

	json_writer_open(&f->w, NULL, '{');
	json_writer_open(&f->w, "empty", '{');
	json_writer_close(&f->w, '}');
	json_writer_open(&f->w, "list", '[');
	json_writer_uint(&f->w, NULL, 1);
	json_writer_open(&f->w, NULL, '{');
	json_writer_text(&f->w, "a", "");
	json_writer_close(&f->w, '}');
	json_writer_open(&f->w, NULL, '[');
	json_writer_close(&f->w, ']');
	json_writer_null(&f->w, NULL);
	json_writer_close(&f->w, ']');
	json_writer_bool(&f->w, "after", true);
	json_writer_close(&f->w, '}');
	assert_string_equal(f->text,
			    "{\"empty\":{},\"list\":[1,{\"a\":\"\"},[],null],\"after\":true}");
}

static void test_milliseconds_have_three_decimals(void **state)
{
	struct fixture *f = *state;

	json_writer_open(&f->w, NULL, '[');
	json_writer_ms(&f->w, NULL, 0);
	json_writer_ms(&f->w, NULL, 999);
	json_writer_ms(&f->w, NULL, 1000);
	json_writer_ms(&f->w, NULL, 1250000);
	json_writer_ms(&f->w, NULL, 60000099999);
	json_writer_close(&f->w, ']');
	assert_string_equal(f->text, "[0.000,0.000,0.001,1.250,60000.099]");
}

static void test_what_json_cannot_hold_is_escaped(void **state)
{
	struct fixture *f = *state;

	json_writer_text(&f->w, NULL, "\"\\/\b\t\n\f\r\x01\x1f");
	assert_string_equal(f->text, "\"\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\"");
}

/* A log is read on a terminal, too: U+009B alone begins a control sequence on some. */
static void test_what_steers_a_terminal_is_escaped(void **state)
{
	struct fixture *f = *state;

	json_writer_text(&f->w, NULL, "\x1b[31m\x7f\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0");
	assert_string_equal(f->text, "\"\\u001b[31m\\u007f\\u0080\\u009b\\u009f\xc2\xa0\"");
}

static void test_a_zero_byte_does_not_end_a_value(void **state)
{
	struct fixture *f = *state;

	json_writer_bytes(&f->w, NULL, "a\0b", 3);
	assert_string_equal(f->text, "\"a\\u0000b\"");
}

static void test_utf8_passes(void **state)
{
	/* The first and last of each length, and those beside the surrogates. */
	static const char *const good[] = {
		"\xc2\xa0",         "\xdf\xbf",         "\xe0\xa0\x80", "\xed\x9f\xbf",
		"\xee\x80\x80",     "\xef\xbf\xbf",     "\xe2\x82\xac", "\xf0\x90\x80\x80",
		"\xf3\xa0\x80\x81", "\xf4\x8f\xbf\xbf",
	};

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct fixture *f = *state;
		char expected[16];

		strbuf_init(&f->out, f->text, sizeof f->text);
		json_writer_init(&f->w, &f->out);
		json_writer_text(&f->w, NULL, good[i]);
		strcpy(expected, "\"");
		strcat(strcat(expected, good[i]), "\"");
		assert_string_equal(f->text, expected);
	}
}

#define REPLACED "\xef\xbf\xbd"

static void test_bytes_that_are_no_utf8_are_replaced(void **state)
{
	static const struct {
		const char *bytes;
		const char *expected;
	} bad[] = {
		{ "a\x80z", "\"a" REPLACED "z\"" },                       /* stray continuation */
		{ "a\xffz", "\"a" REPLACED "z\"" },                       /* never legal */
		{ "\xc0\xaf", "\"" REPLACED REPLACED "\"" },              /* overlong, 2 bytes */
		{ "\xc1\xbf", "\"" REPLACED REPLACED "\"" },              /* overlong, 2 bytes */
		{ "\xe0\x9f\xbf", "\"" REPLACED REPLACED REPLACED "\"" }, /* overlong, 3 bytes */
		{ "\xed\xa0\x80", "\"" REPLACED REPLACED REPLACED "\"" }, /* surrogate */
		{ "\xf0\x8f\xbf\xbf",
		  "\"" REPLACED REPLACED REPLACED REPLACED "\"" }, /* overlong */
		{ "\xf4\x90\x80\x80",
		  "\"" REPLACED REPLACED REPLACED REPLACED "\"" }, /* too large */
		{ "\xe2\x82", "\"" REPLACED REPLACED "\"" },       /* ends too early */
		{ "\xe2\x82z", "\"" REPLACED REPLACED "z\"" },     /* stops too early */
		{ "\xc3\"", "\"" REPLACED "\\\"\"" },              /* swallows no quote */
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct fixture *f = *state;

		strbuf_init(&f->out, f->text, sizeof f->text);
		json_writer_init(&f->w, &f->out);
		json_writer_text(&f->w, NULL, bad[i].bytes);
		assert_string_equal(f->text, bad[i].expected);
	}
}

/* Written independently of the writer's own check: decodes, then compares with the shortest form. */
static bool is_utf8(const uint8_t *at, size_t size)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };

	while (size > 0) {
		size_t n = *at < 0x80       ? 1
			   : *at >> 5 == 6  ? 2
			   : *at >> 4 == 14 ? 3
			   : *at >> 3 == 30 ? 4
					    : 0;
		uint32_t c = n == 1 ? *at : *at & (0x7fu >> n);

		if (n == 0 || n > size)
			return false;
		for (size_t i = 1; i < n; i++) {
			if (at[i] >> 6 != 2)
				return false;
			c = c << 6 | (at[i] & 0x3f);
		}
		if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
		at += n;
		size -= n;
	}
	return true;
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Half of them from the bytes that matter to UTF-8 and JSON, or damage would be all there is. */
static uint8_t random_byte(uint32_t *seed)
{
	static const uint8_t edges[] = { 0x00, 0x1f, '"',  '\\', 0x7f, 0x80, 0x8f,
					 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf,
					 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff };
	uint32_t r = next_random(seed);

	return r & 1 ? (uint8_t)(r >> 1) : edges[(r >> 1) % sizeof edges];
}

static void test_any_bytes_make_valid_json(void **state)
{
	uint32_t seed = 20260427;

	for (int round = 0; round < 50000; round++) {
		struct fixture *f = *state;
		size_t size = next_random(&seed) % 24;
		uint8_t *bytes = malloc(size); /* exact, so that ASan sees an overread */
		cJSON *parsed;

		for (size_t i = 0; i < size; i++)
			bytes[i] = random_byte(&seed);
		strbuf_init(&f->out, f->text, sizeof f->text);
		json_writer_init(&f->w, &f->out);
		json_writer_open(&f->w, NULL, '{');
		json_writer_bytes(&f->w, "k", bytes, size);
		json_writer_close(&f->w, '}');
		assert_true(is_utf8((const uint8_t *)f->text, f->out.used));
		for (size_t i = 0; i < f->out.used; i++)
			assert_in_range((uint8_t)f->text[i], 0x20, 0xff);
		parsed = cJSON_ParseWithLength(f->text, f->out.used);
		assert_true(cJSON_IsString(cJSON_GetObjectItemCaseSensitive(parsed, "k")));
		/* What was fine before arrives unchanged. */
		if (is_utf8(bytes, size) && memchr(bytes, 0, size) == NULL)
			assert_memory_equal(
			    cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(parsed, "k")),
			    bytes, size);
		cJSON_Delete(parsed);
		free(bytes);
	}
}

static void test_too_little_room_is_noticed(void **state)
{
	struct fixture *f = *state;

	for (size_t size = 1; size < sizeof "{\"key\":\"v\xe2\x82\xac\"}"; size++) {
		char *exact = malloc(size);

		strbuf_init(&f->out, exact, size);
		json_writer_init(&f->w, &f->out);
		json_writer_open(&f->w, NULL, '{');
		json_writer_text(&f->w, "key", "v\xe2\x82\xac");
		json_writer_close(&f->w, '}');
		assert_true(f->out.cut);
		free(exact);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_every_kind_of_value),
		TEST(test_objects_and_arrays_nest),
		TEST(test_milliseconds_have_three_decimals),
		TEST(test_what_json_cannot_hold_is_escaped),
		TEST(test_what_steers_a_terminal_is_escaped),
		TEST(test_a_zero_byte_does_not_end_a_value),
		TEST(test_utf8_passes),
		TEST(test_bytes_that_are_no_utf8_are_replaced),
		TEST(test_any_bytes_make_valid_json),
		TEST(test_too_little_room_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
