/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "conf/json_text.h"

/* On an exact-size copy, so that ASan sees an overread by one byte. */
static bool check(const char *text, size_t size, size_t *retat, const char **retwhy)
{
	char *copy = malloc(size > 0 ? size : 1);
	bool ok;

	assert_non_null(copy);
	memcpy(copy, text, size);
	ok = json_check(copy, size, retat, retwhy);
	free(copy);
	return ok;
}

static void test_json_as_the_rfc_has_it_is_accepted(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		" \t\r\n{ } \n",
		"null",
		"true",
		"false",
		"\"\"",
		"0",
		"-0",
		"10",
		"-1.5",
		"1e5",
		"1E+5",
		"0.5e-3",
		"123456789012345678901234567890",
		"[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
		"{\"a\":{\"b\":[1,\"x\",true,null]},\"c\":\"d\"}",
		"\"\\\"\\\\\\/\"",
		"\"\\u00e4\\ud83d\\ude00\"",
		"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xef\xbf\xbf\xc2\xa0\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		const char *why = "";
		size_t at = 0;

		if (!check(texts[i], strlen(texts[i]), &at, &why))
			fail_msg("%s: at %zu: %s", texts[i], at, why);
	}
}

#define VALUE  "expected a value: a string in double quotes, a number, true, false, \"{\" or \"[\""
#define UTF8   "not valid UTF-8"
#define CTRL   "control characters are not allowed in strings"
#define ESCAPE CTRL "; a backslash is written \\\\"
#define COMMA  "nothing follows this comma; remove it"

static const struct {
	const char *text;
	size_t at;
	const char *why;
} mistakes[] = {
	{ "", 0, "there is nothing in it" },
	{ " \n\t\r", 0, "there is nothing in it" },
	{ "\xef\xbb\xbf{}", 0, "a byte order mark; save it as UTF-8 without one" },
	{ "{} x", 3, "nothing may follow the end of the value" },
	{ "{}{}", 2, "nothing may follow the end of the value" },
	{ "// x\n{}", 0, "JSON has no comments; remove this one" },
	{ "[1, # x\n2]", 4, "JSON has no comments; remove this one" },
	{ "[1 /* x */]", 3, "JSON has no comments; remove this one" },
	{ "{\"a\" /**/: 1}", 5, "JSON has no comments; remove this one" },
	{ "{\"a\": 1} // x", 9, "JSON has no comments; remove this one" },
	{ "[", 1, VALUE },
	{ "[1", 2, "expected \",\" or \"]\"" },
	{ "[1 2]", 3, "expected \",\" or \"]\"" },
	{ "[1,]", 2, COMMA },
	{ "[1 , ]", 3, COMMA },
	{ "[,1]", 1, VALUE },
	{ "[1,,2]", 3, VALUE },
	{ "{", 1, "expected a key in double quotes" },
	{ "{a:1}", 1, "expected a key in double quotes" },
	{ "{1:1}", 1, "expected a key in double quotes" },
	{ "{\"a\"}", 4, "expected \":\" behind the key" },
	{ "{\"a\":}", 5, VALUE },
	{ "{\"a\":1", 6, "expected \",\" or \"}\"" },
	{ "{\"a\":1;}", 6, "expected \",\" or \"}\"" },
	{ "{\"a\":1,}", 6, COMMA },
	{ "{\"a\":1]", 6, "expected \",\" or \"}\"" },
	{ "'a'", 0, "strings are written in double quotes" },
	{ "True", 0, VALUE },
	{ "nul", 0, VALUE },
	{ "NaN", 0, VALUE },
	{ "+1", 0, VALUE },
	{ ".5", 0, VALUE },
	{ "-", 1, "expected a digit" },
	{ "-x", 1, "expected a digit" },
	{ "1.", 2, "expected a digit" },
	{ "1.e5", 2, "expected a digit" },
	{ "1e", 2, "expected a digit" },
	{ "1e+", 3, "expected a digit" },
	{ "[01]", 1, "numbers are written without leading zeros" },
	{ "-01", 0, "numbers are written without leading zeros" },
	{ "0x10", 1, "nothing may follow the end of the value" },
	{ "[1234567890123456789012345678901]", 1, "no number here needs so many digits" },
	{ "[\"a]", 1, "the string has no closing quote on its line" },
	{ "[\"a\n\"]", 1, "the string has no closing quote on its line" },
	{ "[\"a\\", 3, "unknown escape; a backslash is written \\\\" },
	{ "\"\\x41\"", 1, "unknown escape; a backslash is written \\\\" },
	{ "\"\\n\"", 1, ESCAPE },
	{ "\"\\t\"", 1, ESCAPE },
	{ "\"\\u12g4\"", 1, "\\u is followed by four hexadecimal digits" },
	{ "\"\\u12", 1, "\\u is followed by four hexadecimal digits" },
	{ "\"\\u0000\"", 1, CTRL },
	{ "\"\\u001f\"", 1, CTRL },
	{ "\"\\u007f\"", 1, CTRL },
	{ "\"\\u009b\"", 1, CTRL },
	{ "\"a\tb\"", 2, CTRL },
	{ "\"a\x7f\"", 2, CTRL },
	{ "\"a\xc2\x9b\"", 2, CTRL },
	{ "\"\\ud83d\"", 1, "half of a surrogate pair" },
	{ "\"\\ud83d\\u0041\"", 1, "half of a surrogate pair" },
	{ "\"\\ud83dx\"", 1, "half of a surrogate pair" },
	{ "\"\\ude00\"", 1, "half of a surrogate pair" },
	{ "\"\x80\"", 1, UTF8 },
	{ "\"\xc3\"", 1, UTF8 },
	{ "\"\xc3", 1, UTF8 },
	{ "\"\xc0\xaf\"", 1, UTF8 },
	{ "\"\xe0\x80\xaf\"", 1, UTF8 },
	{ "\"\xed\xa0\x80\"", 1, UTF8 },
	{ "\"\xf0\x80\x80\xaf\"", 1, UTF8 },
	{ "\"\xf4\x90\x80\x80\"", 1, UTF8 },
	{ "\"\xf8\x88\x80\x80\x80\"", 1, UTF8 },
	{ "\"\xff\"", 1, UTF8 },
	{ "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", 16, "nested too deeply" },
};

static void test_mistakes_are_found_where_they_are(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
		const char *why = "accepted";
		size_t at = 0;

		if (check(mistakes[i].text, strlen(mistakes[i].text), &at, &why) ||
		    at != mistakes[i].at || strcmp(why, mistakes[i].why) != 0)
			fail_msg("%s: at %zu: %s", mistakes[i].text, at, why);
	}
}

static void test_a_zero_byte_is_a_mistake_like_any_other(void **state)
{
	const char *why;
	size_t at;

	(void)state;
	assert_false(check("{}\0", 3, &at, &why));
	assert_int_equal(at, 2);
	assert_false(check("\"a\0b\"", 5, &at, &why));
	assert_int_equal(at, 2);
	assert_string_equal(why, CTRL);
}

static void test_no_shorter_part_of_an_object_is_accepted(void **state)
{
	static const char text[] =
	    "{\"a\": [1.5e3, \"\\u00e4\\\\\xc3\xa4\", true], \"b\": {\"c\": null}}";
	const char *why;
	size_t at;

	(void)state;
	for (size_t size = 0; size < sizeof text - 1; size++) {
		assert_false(check(text, size, &at, &why));
		assert_true(at <= size);
	}
	assert_true(check(text, sizeof text - 1, &at, &why));
}

static void assert_found(const char *text, const size_t *steps, size_t count, const char *key,
			 const char *value)
{
	struct json_span span = json_locate(text, strlen(text), steps, count);

	assert_memory_equal(text + span.key, key, strlen(key));
	assert_int_equal(span.size, strlen(value));
	assert_memory_equal(text + span.value, value, strlen(value));
}

static void test_values_are_found_along_their_path(void **state)
{
	static const char text[] =
	    " {\n \"a, [{\": [ 10 , \"]}\\\"\", { } ],\n\"b\" : {\"c\": [[1], [2,3]]},\"d\":true}\n";

	(void)state;
	assert_found("7", NULL, 0, "7", "7");
	assert_found(" null ", NULL, 0, "null", "null");
	assert_found(text, (size_t[]){ 0 }, 1, "\"a, [{\"", "[ 10 , \"]}\\\"\", { } ]");
	assert_found(text, (size_t[]){ 0, 0 }, 2, "10", "10");
	assert_found(text, (size_t[]){ 0, 1 }, 2, "\"]}\\\"\"", "\"]}\\\"\"");
	assert_found(text, (size_t[]){ 0, 2 }, 2, "{ }", "{ }");
	assert_found(text, (size_t[]){ 1 }, 1, "\"b\" :", "{\"c\": [[1], [2,3]]}");
	assert_found(text, (size_t[]){ 1, 0, 1 }, 3, "[2,3]", "[2,3]");
	assert_found(text, (size_t[]){ 1, 0, 1, 1 }, 4, "3", "3");
	assert_found(text, (size_t[]){ 2 }, 1, "\"d\":", "true");
}

static void test_columns_count_characters(void **state)
{
	static const char text[] = "{\n\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\": 1\r\n}";
	unsigned line, column;

	(void)state;
	json_line_column(text, 0, &line, &column);
	assert_int_equal(line, 1);
	assert_int_equal(column, 1);
	json_line_column(text, (size_t)(strchr(text, '1') - text), &line, &column);
	assert_int_equal(line, 2);
	assert_int_equal(column,
			 8); /* three characters, their quotes, colon and space stand before */
	json_line_column(text, (size_t)(strchr(text, '}') - text), &line, &column);
	assert_int_equal(line, 3);
	assert_int_equal(column, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_as_the_rfc_has_it_is_accepted),
		cmocka_unit_test(test_mistakes_are_found_where_they_are),
		cmocka_unit_test(test_a_zero_byte_is_a_mistake_like_any_other),
		cmocka_unit_test(test_no_shorter_part_of_an_object_is_accepted),
		cmocka_unit_test(test_values_are_found_along_their_path),
		cmocka_unit_test(test_columns_count_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
