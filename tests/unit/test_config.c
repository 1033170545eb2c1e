/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "conf/config.h"

#define ROUNDS 100000

static void test_a_configuration_lives_as_long_as_it_is_referred_to(void **state)
{
	struct config *c = config_create();

	(void)state;
	assert_non_null(c);
	assert_ptr_equal(config_ref(c), c);
	assert_int_equal(atomic_load(&c->references), 2);
	config_unref(c);
	assert_int_equal(atomic_load(&c->references), 1);
	config_unref(c); /* ASan sees it if this frees too little, or too much */
	config_unref(NULL);
}

static void *ref_and_unref(void *data)
{
	struct config *c = data;

	for (int i = 0; i < ROUNDS; i++)
		config_unref(config_ref(c));
	return NULL;
}

static void test_references_are_counted_right_by_several_threads(void **state)
{
	struct config *c = config_create();
	pthread_t threads[4];

	(void)state;
	assert_non_null(c);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, c), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&c->references), 1);
	config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_configuration_lives_as_long_as_it_is_referred_to),
		cmocka_unit_test(test_references_are_counted_right_by_several_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
