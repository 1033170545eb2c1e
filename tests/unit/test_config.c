/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "conf/config.h"
#include "lib/config_text.h"

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

/* Does a listener with the name and place of @a keep its socket with those of @b? */
static bool same_socket(const char *name_a, const char *listen_a, const char *name_b,
			const char *listen_b)
{
	static const char *const format =
	    "{\"listeners\": [{\"name\": \"%s\", \"listen\": \"%s\", \"upstream\": "
	    "\"127.0.0.1:1\", \"trusted_proxies\": [\"10.0.0.1\", \"%s\"]}]}";
	const char *const names[] = { name_a, name_b };
	const char *const places[] = { listen_a, listen_b };
	struct config *c[2];
	bool same;

	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		bool is_unix = strncmp(places[i], "unix:", 5) == 0;
		char text[512];

		snprintf(text, sizeof text, format, names[i], places[i],
			 is_unix ? "unix:" : "10.0.0.2");
		c[i] = config_text_load(text);
	}
	same = listener_config_same_socket(&c[0]->listeners[0], &c[1]->listeners[0]);
	config_unref(c[0]);
	config_unref(c[1]);
	return same;
}

static void test_a_listener_keeps_its_socket_where_it_stays(void **state)
{
	(void)state;
	assert_true(same_socket("a", "127.0.0.1:80", "b", "127.0.0.1:80"));
	assert_true(same_socket("a", "[::1]:80", "b", "[0:0::0:1]:80"));
	assert_true(same_socket("a", "unix:/run/a", "b", "unix:/run/a"));
	assert_true(same_socket("a", "127.0.0.1:0", "a", "127.0.0.1:0"));
}

static void test_a_listener_that_moves_needs_another_socket(void **state)
{
	(void)state;
	assert_false(same_socket("a", "127.0.0.1:80", "a", "127.0.0.1:81"));
	assert_false(same_socket("a", "127.0.0.1:80", "a", "127.0.0.2:80"));
	assert_false(same_socket("a", "[::]:80", "a", "0.0.0.0:80"));
	assert_false(same_socket("a", "unix:/run/a", "a", "unix:/run/b"));
	assert_false(same_socket("a", "127.0.0.1:80", "a", "unix:/127.0.0.1:80"));
	assert_false(same_socket("a", "127.0.0.1:0", "b", "127.0.0.1:0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_configuration_lives_as_long_as_it_is_referred_to),
		cmocka_unit_test(test_references_are_counted_right_by_several_threads),
		cmocka_unit_test(test_a_listener_keeps_its_socket_where_it_stays),
		cmocka_unit_test(test_a_listener_that_moves_needs_another_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
