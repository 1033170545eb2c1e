/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <limits.h>
#include <string.h>

#include <cmocka.h>

#include "base/edit_distance.h"

static void test_each_slip_counts_one(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		unsigned distance;
	} cases[] = {
		{ "", "", 0 },           { "check", "check", 0 },    { "", "run", 3 },
		{ "run", "", 3 },        { "runn", "run", 1 }, /* one too many */
		{ "chek", "check", 1 },                        /* one missing */
		{ "chack", "check", 1 },                       /* a wrong one */
		{ "chekc", "check", 1 },                       /* two swapped */
		{ "hceck", "check", 1 }, { "urn", "run", 1 },        { "sned", "end", 2 },
		{ "demo", "send", 3 },   { "kitten", "sitting", 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(edit_distance(cases[i].a, cases[i].b), cases[i].distance);
		assert_int_equal(edit_distance(cases[i].b, cases[i].a), cases[i].distance);
	}
}

static void test_long_words_are_far_from_everything(void **state)
{
	char word[EDIT_DISTANCE_WORD_MAX + 2];

	(void)state;
	memset(word, 'a', sizeof word);
	word[EDIT_DISTANCE_WORD_MAX + 1] = '\0';
	assert_int_equal(edit_distance(word, "a"), UINT_MAX);
	assert_int_equal(edit_distance("a", word), UINT_MAX);
	word[EDIT_DISTANCE_WORD_MAX] = '\0';
	assert_int_equal(edit_distance(word, "a"), EDIT_DISTANCE_WORD_MAX - 1);
	assert_int_equal(edit_distance(word, word), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_slip_counts_one),
		cmocka_unit_test(test_long_words_are_far_from_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
