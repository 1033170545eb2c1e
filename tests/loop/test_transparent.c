/* SPDX-License-Identifier: MIT */
/* Which clients transparent mode refuses, and what it says when it may not bind. What it does when it may is in
 * tests/integration/test_transparent.py. */
#include "session/transparent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <cmocka.h>

#include "base/capability.h"
#include "conf/config.h"
#include "conf/config_load.h"

struct fixture {
	struct config *config;
	struct transparent *transparent;
};

static int setup(void **state)
{
	static const char text[] =
	    "{\"transparent_routing\": {\"mark\": 99}, \"listeners\": ["
	    "{\"listen\": \"[::]:6432\", \"upstream\": \"127.0.0.1:1\", \"trusted_proxies\": [\"::1\"]},"
	    "{\"listen\": \"192.0.2.1:80\", \"upstream\": \"127.0.0.1:1\", \"trusted_proxies\": [\"::1\"]},"
	    "{\"listen\": \"127.0.0.1:81\", \"upstream\": \"127.0.0.1:1\", \"trusted_proxies\": [\"::1\"]}]}";
	static struct fixture f;
	struct config_error error;

	assert_int_equal(config_load_text("test", "/", text, strlen(text), &f.config, &error), 0);
	assert_int_equal(transparent_create(f.config, &f.transparent), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	transparent_unref(f->transparent);
	config_unref(f->config);
	return 0;
}

/* Why is this client refused? NULL: it is not. */
static const char *refusal(const struct fixture *f, const char *text)
{
	struct address a;
	const char *why;
	const char *hint;

	assert_int_equal(address_parse(text, &a, &why), 0);
	why = transparent_refusal(f->transparent, &a, &hint);
	assert_true((why == NULL) == (hint == NULL));
	return why;
}

static void test_the_mark_is_the_configured_one(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(f->transparent->mark, 99);
}

static void test_addresses_of_clients_are_not_refused(void **state)
{
	static const char *const clients[] = {
		"203.0.113.7:1",  "203.0.113.7:0",      "203.0.113.7:6432", "127.0.0.1:5000",
		"240.0.0.1:5",    "169.254.1.1:5",      "[2001:db8::7]:1",  "[::1]:5000",
		"[fd00::1]:6432", "[::ffff:1.2.3.4]:9", "[fec0::1]:1",
	};

	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		assert_null(refusal(*state, clients[i]));
}

static void test_addresses_of_nobody_are_refused(void **state)
{
	static const char *const nobody[][2] = {
		{ "0.0.0.0:5", "unspecified" },          { "[::]:5", "unspecified" },
		{ "[::ffff:0.0.0.0]:5", "unspecified" }, { "224.0.0.1:5", "multicast" },
		{ "239.255.255.255:0", "multicast" },    { "[ff02::1]:5", "multicast" },
		{ "255.255.255.255:5", "broadcast" },    { "127.255.255.255:5", "broadcast" },
		{ "[fe80::1]:5", "link-local" },         { "[febf::1]:5", "link-local" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(nobody); i++) {
		const char *why = refusal(*state, nobody[i][0]);

		assert_non_null(why);
		assert_non_null(strstr(why, nobody[i][1]));
	}
}

/* A listener on [::] is at every address of this host, and at no client's. */
static void test_listeners_are_refused(void **state)
{
	assert_non_null(strstr(refusal(*state, "127.0.0.1:6432"), "listener"));
	assert_non_null(strstr(refusal(*state, "127.0.0.1:81"), "listener"));
	assert_null(refusal(*state, "127.0.0.1:80"));
	assert_null(refusal(*state, "127.0.0.1:6433"));
}

static void test_a_peer_without_an_ip_address_is_refused(void **state)
{
	const struct fixture *f = *state;
	const struct address unix_peer = { .family = AF_UNIX };
	const char *hint;

	assert_non_null(transparent_refusal(f->transparent, &unix_peer, &hint));
	assert_non_null(strstr(hint, "unix socket"));
}

static void *connect_without_capability(void *arg)
{
	const struct fixture *f = arg;
	struct address client = { .family = AF_INET, .port = 5, .ip = { 192, 0, 2, 7 } };
	struct address to = { .family = AF_INET, .port = 9, .ip = { 127, 0, 0, 1 } };
	struct transparent_result result;

	capability_keep(0);
	assert_int_equal(transparent_connect(f->transparent, &client, &to, &result), -EPERM);
	assert_int_equal(result.fd, -1);
	assert_non_null(strstr(result.failed, "CAP_NET_RAW"));
	assert_non_null(result.hint);
	assert_null(result.note);
	return NULL;
}

static void test_without_the_capability_it_never_connects_plainly(void **state)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, connect_without_capability, *state), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_mark_is_the_configured_one),
		cmocka_unit_test(test_addresses_of_clients_are_not_refused),
		cmocka_unit_test(test_addresses_of_nobody_are_refused),
		cmocka_unit_test(test_listeners_are_refused),
		cmocka_unit_test(test_a_peer_without_an_ip_address_is_refused),
		cmocka_unit_test(test_without_the_capability_it_never_connects_plainly),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
