/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/strbuf.h"

static void test_pieces_stand_one_behind_the_other(void **state)
{
	char data[64];
	struct strbuf s;

	(void)state;
	strbuf_init(&s, data, sizeof data);
	assert_string_equal(data, "");
	strbuf_puts(&s, "one");
	strbuf_putc(&s, ' ');
	strbuf_add(&s, "two and more", 3);
	strbuf_printf(&s, " %d%s", 3, "!");
	assert_string_equal(data, "one two 3!");
	assert_int_equal(s.used, strlen(data));
	assert_false(s.cut);
}

static void test_what_just_fits_is_not_cut(void **state)
{
	char *data = malloc(5); /* exact, so that ASan sees a byte too many */
	struct strbuf s;

	(void)state;
	strbuf_init(&s, data, 5);
	strbuf_puts(&s, "1234");
	assert_string_equal(data, "1234");
	assert_false(s.cut);
	strbuf_init(&s, data, 5);
	strbuf_printf(&s, "%s", "1234");
	assert_string_equal(data, "1234");
	assert_false(s.cut);
	free(data);
}

/* Otherwise the rest of a sentence could follow a hole in it. */
static void test_nothing_is_added_behind_a_cut(void **state)
{
	char *data = malloc(5);
	struct strbuf s;

	(void)state;
	strbuf_init(&s, data, 5);
	strbuf_puts(&s, "12345");
	assert_true(s.cut);
	assert_string_equal(data, "1234");

	strbuf_init(&s, data, 5);
	strbuf_puts(&s, "12");
	strbuf_printf(&s, "%d", 34567);
	assert_true(s.cut);
	assert_string_equal(data, "1234");
	assert_int_equal(s.used, 4);

	strbuf_init(&s, data, 5);
	strbuf_puts(&s, "12");
	strbuf_puts(&s, "345");
	s.used = 2; /* even if there were room again */
	data[2] = '\0';
	strbuf_putc(&s, 'x');
	strbuf_puts(&s, "x");
	strbuf_uint(&s, 7);
	strbuf_printf(&s, "x");
	assert_string_equal(data, "12");
	free(data);
}

static void test_a_buffer_of_one_byte_holds_the_empty_text(void **state)
{
	char *data = malloc(1);
	struct strbuf s;

	(void)state;
	strbuf_init(&s, data, 1);
	strbuf_puts(&s, "");
	assert_false(s.cut);
	strbuf_printf(&s, "%s", "x");
	assert_true(s.cut);
	assert_string_equal(data, "");
	free(data);
}

static void test_numbers_are_decimal(void **state)
{
	char data[64];
	struct strbuf s;

	(void)state;
	strbuf_init(&s, data, sizeof data);
	strbuf_uint(&s, 0);
	strbuf_putc(&s, ' ');
	strbuf_uint(&s, 1234567890);
	strbuf_putc(&s, ' ');
	strbuf_uint(&s, UINT64_MAX);
	assert_string_equal(data, "0 1234567890 18446744073709551615");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_stand_one_behind_the_other),
		cmocka_unit_test(test_what_just_fits_is_not_cut),
		cmocka_unit_test(test_nothing_is_added_behind_a_cut),
		cmocka_unit_test(test_a_buffer_of_one_byte_holds_the_empty_text),
		cmocka_unit_test(test_numbers_are_decimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
