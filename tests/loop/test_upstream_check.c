/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/config_text.h"
#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "lib/test_peer.h"
#include "loop/resolver_fault.h"
#include "server/upstream_check.h"
#include "session/upstream.h"

#define INTERVAL_MS 20

struct fixture {
	uv_loop_t loop;
	char directory[48];
	char path[64]; /* of a unix socket in it */
	char unix_text[80];
	struct config *config;
	struct upstream_addresses addresses[2];
	struct upstream_check *check;
	uint64_t answered_ns; /* what a client's connection has left */
	unsigned asked;       /* how often that was looked at: once a check */
	unsigned changes;
	bool ends; /* the next change destroys the check */
	struct test_peer application;
	char name[TEST_PEER_NAME_MAX]; /* where it listens */
	unsigned fds_before;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->fds_before = test_count_fds();
	strcpy(f->directory, "/tmp/test_upstream_check.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof f->path, "%s/app.sock", f->directory);
	snprintf(f->unix_text, sizeof f->unix_text, "unix:%s", f->path);
	test_loop_open(&f->loop);
	f->application.fd = -1;
	*state = f;
	return 0;
}

static void end_check(struct fixture *f)
{
	upstream_check_destroy(f->check);
	f->check = NULL;
	test_loop_run_out(&f->loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	resolver_fault_go_on();
	end_check(f);
	test_loop_close(&f->loop);
	config_unref(f->config);
	test_peer_close(&f->application);
	assert_int_equal(test_count_fds(), f->fds_before);
	unlink(f->path);
	assert_int_equal(rmdir(f->directory), 0);
	free(f);
	return 0;
}

/* --- the application --- */

static void start_application(struct fixture *f, const char *at)
{
	test_peer_listen(&f->application, &f->loop, at, 100);
	test_peer_name(&f->application, f->name);
}

/* Its place refuses connections, and nobody else is given it. */
static void stop_application(struct fixture *f)
{
	assert_int_equal(shutdown(f->application.fd, SHUT_RDWR), 0);
}

/* A place at which nothing listens. */
static void reserve_place(struct fixture *f)
{
	start_application(f, "127.0.0.1:0");
	test_peer_close(&f->application);
}

/* The application does not accept, and one client is all that fits into its backlog. */
static void fill_backlog(struct fixture *f, struct test_peer *client)
{
	test_peer_listen(&f->application, &f->loop, "127.0.0.1:0", 0);
	test_peer_name(&f->application, f->name);
	test_peer_connect(client, &f->loop, f->name, NULL);
	test_loop_until_ready(&f->loop, f->application.fd, POLLIN, "a client");
}

/* How many connections wait for the application. */
static unsigned count_connections(const struct fixture *f)
{
	unsigned count = 0;
	int fd;

	while ((fd = accept4(f->application.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		close(fd);
		count++;
	}
	return count;
}

/* --- the check --- */

static uint64_t answered_ns(void *data)
{
	struct fixture *f = data;

	f->asked++;
	return f->answered_ns;
}

static void on_change(void *data)
{
	struct fixture *f = data;

	f->changes++;
	if (f->ends) {
		upstream_check_destroy(f->check);
		f->check = NULL;
	}
}

/* @upstream is JSON. */
static void configure(struct fixture *f, const char *upstream, unsigned interval_ms)
{
	char text[1024];

	snprintf(text, sizeof text,
		 "{\"listeners\": [{\"listen\": \"127.0.0.1:1\", \"upstream\": %s, "
		 "\"trusted_proxies\": [\"10.0.0.1\"], \"upstream_check\": {\"interval_ms\": "
		 "%u}}]}",
		 upstream, interval_ms);
	f->config = config_text_load(text);
	for (int i = 0; i < 2; i++)
		assert_int_equal(upstream_addresses_find(&f->config->listeners[0].upstream[i],
							 &f->loop, &f->addresses[i]),
				 0);
}

static int try_check(struct fixture *f)
{
	const struct upstream_check_options options = {
		.loop = &f->loop,
		.config = f->config,
		.listener = &f->config->listeners[0],
		.addresses = f->addresses,
		.answered_ns = answered_ns,
		.changed = on_change,
		.data = f,
	};

	return upstream_check_create(&options, &f->check);
}

static void start_check(struct fixture *f)
{
	assert_int_equal(try_check(f), 0);
	assert_int_equal(upstream_check_health(f->check), UPSTREAM_UNKNOWN);
	assert_string_equal(upstream_check_reason(f->check), "");
}

/* Check the application where it is, by its address. */
static void check_application(struct fixture *f)
{
	char text[TEST_PEER_NAME_MAX + 2];

	snprintf(text, sizeof text, "\"%s\"", f->name);
	configure(f, text, INTERVAL_MS);
	start_check(f);
}

static bool has_changed(void *data)
{
	const struct fixture *f = data;

	return f->changes > 0;
}

static void expect_health(struct fixture *f, enum upstream_health health, const char *reason)
{
	test_loop_until(&f->loop, has_changed, f, "a change of health");
	assert_int_equal(f->changes, 1);
	assert_int_equal(upstream_check_health(f->check), health);
	assert_non_null(strstr(upstream_check_reason(f->check), reason));
	assert_int_equal(upstream_check_reason(f->check)[0] == '\0', health == UPSTREAM_UP);
	f->changes = 0;
}

static bool was_asked_often(void *data)
{
	const struct fixture *f = data;

	return f->asked >= 3;
}

/* Some more checks change nothing. */
static void expect_no_change(struct fixture *f)
{
	f->asked = 0;
	test_loop_until(&f->loop, was_asked_often, f, "three checks");
	assert_int_equal(f->changes, 0);
}

/* --- up and down --- */

static void test_an_application_that_accepts_is_up(void **state)
{
	struct fixture *f = *state;

	start_application(f, "127.0.0.1:0");
	check_application(f);
	expect_health(f, UPSTREAM_UP, "");
	expect_no_change(f);
}

/* Unless this machine stops for so long that the kernel does not wait for us any more (40 ms), and then only that once. */
static void test_the_application_does_not_notice(void **state)
{
	struct fixture *f = *state;

	start_application(f, "127.0.0.1:0");
	check_application(f);
	expect_health(f, UPSTREAM_UP, "");
	expect_no_change(f);
	end_check(f);
	assert_in_range(count_connections(f), 0, f->asked - 1);
}

static void test_an_application_that_stops_and_starts(void **state)
{
	struct fixture *f = *state;
	char reason[TEST_PEER_NAME_MAX + 32];

	start_application(f, "127.0.0.1:0");
	check_application(f);
	expect_health(f, UPSTREAM_UP, "");
	test_peer_close(&f->application);
	snprintf(reason, sizeof reason, "%s: connection refused", f->name);
	expect_health(f, UPSTREAM_DOWN, reason);
	assert_string_equal(upstream_check_reason(f->check), reason);
	expect_no_change(f);
	start_application(f, f->name);
	expect_health(f, UPSTREAM_UP, "");
}

static void test_no_answer_is_down(void **state)
{
	struct fixture *f = *state;
	struct test_peer client;
	char reason[64];

	fill_backlog(f, &client);
	check_application(f);
	snprintf(reason, sizeof reason, "no answer within %d ms", INTERVAL_MS);
	expect_health(f, UPSTREAM_DOWN, reason);
	expect_no_change(f);
	test_peer_close(&client);
}

static void test_a_unix_socket(void **state)
{
	struct fixture *f = *state;

	strcpy(f->name, f->unix_text);
	check_application(f);
	expect_health(f, UPSTREAM_DOWN, "no such file");
	start_application(f, f->unix_text);
	expect_health(f, UPSTREAM_UP, "");
	stop_application(f);
	expect_health(f, UPSTREAM_DOWN, "connection refused");
}

static void test_a_unix_socket_that_takes_no_more(void **state)
{
	struct fixture *f = *state;
	struct test_peer client;

	test_peer_listen(&f->application, &f->loop, f->unix_text, 0);
	test_peer_connect(&client, &f->loop, f->unix_text, NULL);
	strcpy(f->name, f->unix_text);
	check_application(f);
	expect_health(f, UPSTREAM_DOWN, "too many connections wait");
	test_peer_close(&client);
}

/* --- clients tell as much --- */

static void test_a_client_that_was_connected_is_enough(void **state)
{
	struct fixture *f = *state;

	reserve_place(f); /* a check would find it down */
	f->answered_ns = UINT64_MAX / 2;
	check_application(f);
	expect_health(f, UPSTREAM_UP, "");
	expect_no_change(f);
	f->answered_ns = uv_hrtime() - (INTERVAL_MS + 1) * UINT64_C(1000000);
	expect_health(f, UPSTREAM_DOWN, "refused");
}

/* --- several addresses --- */

static void add_address(struct fixture *f, const char *text)
{
	struct upstream_addresses *a = &f->addresses[0];
	const char *why;

	assert_int_equal(address_parse(text, &a->list[a->count], &why), 0);
	a->count++;
}

/* The place of the application, but at an IP where it does not listen. */
static void add_wrong_address(struct fixture *f)
{
	char text[64];

	snprintf(text, sizeof text, "127.0.0.2:%u", test_peer_port(&f->application));
	add_address(f, text);
}

static void test_one_address_of_several_is_enough(void **state)
{
	struct fixture *f = *state;

	start_application(f, "127.0.0.1:0");
	configure(f, "\"localhost:1\"", INTERVAL_MS);
	f->addresses[0].count = 0;
	add_wrong_address(f);
	add_wrong_address(f);
	add_address(f, f->name);
	start_check(f);
	expect_health(f, UPSTREAM_UP, "");
}

static void configure_name(struct fixture *f, unsigned interval_ms)
{
	char text[64];

	start_application(f, "127.0.0.1:0");
	snprintf(text, sizeof text, "\"localhost:%u\"", test_peer_port(&f->application));
	configure(f, text, interval_ms);
	f->addresses[0].count = 0;
	add_wrong_address(f);
}

static void test_a_name_is_looked_up_again(void **state)
{
	struct fixture *f = *state;

	configure_name(f, 1000); /* both within the first check */
	start_check(f);
	expect_health(f, UPSTREAM_UP, "");
	assert_int_equal(f->asked, 1);
	stop_application(f);
}

static void test_a_name_with_nobody_behind_it_is_down(void **state)
{
	struct fixture *f = *state;

	configure_name(f, INTERVAL_MS);
	stop_application(f);
	start_check(f);
	expect_health(f, UPSTREAM_DOWN, "refused");
	expect_no_change(f);
}

/* It is down for what was found out; the answer is there for the check after it. */
static void test_a_resolver_that_is_late_is_not_waited_for(void **state)
{
	struct fixture *f = *state;

	configure_name(f, INTERVAL_MS);
	resolver_fault_hang();
	start_check(f);
	expect_health(f, UPSTREAM_DOWN, "refused");
	expect_no_change(f);
	resolver_fault_go_on();
	expect_health(f, UPSTREAM_UP, "");
}

/* --- pairs --- */

static void configure_pair(struct fixture *f, const char *ipv4, const char *ipv6)
{
	char text[2 * TEST_PEER_NAME_MAX];

	snprintf(text, sizeof text, "{\"ipv4\": \"%s\", \"ipv6\": \"%s\"}", ipv4, ipv6);
	configure(f, text, INTERVAL_MS);
}

static void test_both_halves_of_a_pair_must_accept(void **state)
{
	struct fixture *f = *state;
	struct test_peer other;

	start_application(f, f->unix_text);
	test_peer_listen(&other, &f->loop, "127.0.0.1:0", 100);
	test_peer_name(&other, f->name);
	configure_pair(f, f->name, f->unix_text);
	f->answered_ns = UINT64_MAX / 2; /* by one of them */
	start_check(f);
	expect_health(f, UPSTREAM_UP, "");
	stop_application(f);
	expect_health(f, UPSTREAM_DOWN, f->unix_text);
	end_check(f);
	test_peer_close(&f->application);
	unlink(f->path);
	start_application(f, f->unix_text);
	start_check(f);
	expect_health(f, UPSTREAM_UP, "");
	test_peer_name(&other, f->name);
	test_peer_close(&other);
	expect_health(f, UPSTREAM_DOWN, f->name);
}

/* --- shortage --- */

static void test_our_own_shortage_is_not_its_fault(void **state)
{
	struct fixture *f = *state;
	struct rlimit old;
	struct rlimit none;

	start_application(f, "127.0.0.1:0");
	check_application(f);
	expect_health(f, UPSTREAM_UP, "");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	stop_application(f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	f->asked = 0;
	while (!was_asked_often(f)) /* poll(2), and so test_loop_until(), needs the limit */
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(f->changes, 0);
	expect_health(f, UPSTREAM_DOWN, "refused");
}

static void test_without_memory_there_is_no_check(void **state)
{
	struct fixture *f = *state;

	configure(f, "\"127.0.0.1:1\"", INTERVAL_MS);
	fault_arm(0);
	assert_int_equal(try_check(f), -ENOMEM);
	assert_true(fault_disarm());
}

/* --- the end --- */

static void test_the_callback_may_end_it(void **state)
{
	struct fixture *f = *state;

	reserve_place(f);
	f->ends = true;
	check_application(f);
	test_loop_until(&f->loop, has_changed, f, "a change");
	test_loop_run_out(&f->loop);
}

static void test_an_end_before_the_first_check(void **state)
{
	struct fixture *f = *state;

	start_application(f, "127.0.0.1:0");
	check_application(f);
	end_check(f);
	assert_int_equal(f->asked, 0);
}

static bool was_asked(void *data)
{
	const struct fixture *f = data;

	return f->asked > 0;
}

static void test_an_end_while_connecting(void **state)
{
	struct fixture *f = *state;
	struct test_peer client;
	char text[TEST_PEER_NAME_MAX + 2];

	fill_backlog(f, &client);
	snprintf(text, sizeof text, "\"%s\"", f->name);
	configure(f, text, 600000);
	start_check(f);
	test_loop_until(&f->loop, was_asked, f, "the check");
	end_check(f);
	assert_int_equal(f->changes, 0);
	test_peer_close(&client);
}

static void test_an_end_while_resolving(void **state)
{
	struct fixture *f = *state;

	configure_name(f, 600000);
	resolver_fault_hang();
	start_check(f);
	test_loop_until(&f->loop, was_asked, f, "the check");
	test_loop_settle(&f->loop); /* refused at once */
	resolver_fault_wait_until_asked();
	upstream_check_destroy(f->check);
	f->check = NULL;
	test_loop_settle(&f->loop);
	resolver_fault_go_on();
	test_loop_run_out(&f->loop);
	assert_int_equal(f->changes, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_an_application_that_accepts_is_up),
		TEST(test_the_application_does_not_notice),
		TEST(test_an_application_that_stops_and_starts),
		TEST(test_no_answer_is_down),
		TEST(test_a_unix_socket),
		TEST(test_a_unix_socket_that_takes_no_more),
		TEST(test_a_client_that_was_connected_is_enough),
		TEST(test_one_address_of_several_is_enough),
		TEST(test_a_name_is_looked_up_again),
		TEST(test_a_name_with_nobody_behind_it_is_down),
		TEST(test_a_resolver_that_is_late_is_not_waited_for),
		TEST(test_both_halves_of_a_pair_must_accept),
		TEST(test_our_own_shortage_is_not_its_fault),
		TEST(test_without_memory_there_is_no_check),
		TEST(test_the_callback_may_end_it),
		TEST(test_an_end_before_the_first_check),
		TEST(test_an_end_while_connecting),
		TEST(test_an_end_while_resolving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
