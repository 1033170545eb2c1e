/* SPDX-License-Identifier: MIT */
/* A server whose applications come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/address.h"
#include "base/strbuf.h"
#include "lib/test_loop.h"
#include "loop/resolver_fault.h"
#include "loop/server_fixture.h"
#include "server/server_private.h"

#define WORKERS "\"workers\": 3, "
#define ADMIN   "\"admin\": {\"listen\": \"127.0.0.1:0\"}, "

/* Listeners on loopback, whose upstream is checked as @check says. */
#define LISTENER(name, upstream, check)                                                   \
	"{\"name\": \"" name "\", \"listen\": \"127.0.0.1:0\", \"upstream\": \"" upstream \
	"\", \"trusted_proxies\": [\"127.0.0.0/8\"], \"upstream_check\": {" check "}}"
#define CLOSING(name) LISTENER(name, "APP", "\"interval_ms\": 20, \"close_listener\": true")

#define DOWN "down: "
#define UP   "the upstream is up"

struct fixture {
	struct server_fixture *s;
	struct test_peer app; /* APP, not that of the server's fixture: it comes and goes */
	char name[TEST_PEER_NAME_MAX]; /* where it listens */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	server_fixture_setup((void **)&f->s);
	test_peer_listen(&f->app, NULL, "127.0.0.1:0", 256);
	test_peer_name(&f->app, f->name);
	f->s->fds_before++;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	resolver_fault_go_on();
	if (f->app.fd < 0)
		f->s->fds_before--;
	server_fixture_teardown((void **)&f->s);
	test_peer_close(&f->app);
	free(f);
	return 0;
}

static void load_with(struct fixture *f, const char *keys, const char *listeners)
{
	char text[2048];
	struct strbuf out;
	const char *next;

	strbuf_init(&out, text, sizeof text);
	for (; (next = strstr(listeners, "APP")) != NULL; listeners = next + strlen("APP"))
		strbuf_printf(&out, "%.*s%s", (int)(next - listeners), listeners, f->name);
	strbuf_puts(&out, listeners);
	server_fixture_load(f->s, keys, text);
}

/* With somebody who may ask how the applications are. */
static void load(struct fixture *f, const char *listeners)
{
	load_with(f, WORKERS ADMIN, listeners);
}

static void start(struct fixture *f, const char *listeners)
{
	load(f, listeners);
	if (server_fixture_create_loaded(f->s, &f->s->server) != 0)
		fail_msg("%s", f->s->error.text);
	server_fixture_run(f->s);
}

static void reload(struct fixture *f)
{
	server_fixture_skip_log(f->s);
	kill(getpid(), SIGHUP);
	server_fixture_expect_log(f->s, "SIGHUP: ");
}

static void reload_to(struct fixture *f, const char *listeners)
{
	load(f, listeners);
	reload(f);
}

static void stop_app(struct fixture *f)
{
	server_fixture_skip_log(f->s);
	test_peer_close(&f->app);
	server_fixture_expect_log(f->s, DOWN);
}

static void start_app(struct fixture *f)
{
	server_fixture_skip_log(f->s);
	test_peer_listen(&f->app, NULL, f->name, 256);
	server_fixture_expect_log(f->s, UP);
}

static void relay(struct fixture *f)
{
	server_fixture_connect(f->s, 0, &f->s->client);
	test_peer_send_text(&f->s->client, HEADER "hello");
	test_peer_accept(&f->app, &f->s->upstream);
	test_peer_expect_text(&f->s->upstream, "hello");
}

/* Returns 0 or an errno. */
static int connect_error(struct fixture *f, unsigned index)
{
	struct address a;
	struct sockaddr_storage ss;
	socklen_t size;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rv;

	assert_int_equal(address_parse_ip("127.0.0.1", &a), 0);
	a.port = (uint16_t)server_port(f->s->server, index);
	size = address_to_sockaddr(&a, &ss);
	rv = connect(fd, (const struct sockaddr *)&ss, size) == 0 ? 0 : errno;
	close(fd);
	return rv;
}

/* The workers are told one after the other. */
static void expect_connect_error(struct fixture *f, unsigned index, int error)
{
	uint64_t end_ms = uv_hrtime() / 1000000 + TEST_PATIENCE_MS;

	while (connect_error(f, index) != error) {
		assert_true(uv_hrtime() / 1000000 < end_ms);
		poll(NULL, 0, 1); /* each try is a line in the log */
	}
}

static void expect_refusing(struct fixture *f, unsigned index)
{
	expect_connect_error(f, index, ECONNREFUSED);
}

/* All workers accept again: with one that did not, some of these would be refused. */
static void expect_accepting(struct fixture *f, unsigned index)
{
	expect_connect_error(f, index, 0);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(connect_error(f, index), 0);
}

static bool is_logged(struct fixture *f, const char *text)
{
	return strstr(f->s->log_text + f->s->log_skipped, text) != NULL;
}

/* --- up and down --- */

static void test_the_log_says_that_an_upstream_is_down(void **state)
{
	struct fixture *f = *state;
	char text[128 + TEST_PEER_NAME_MAX];

	start(f, LISTENER("a", "APP", "\"interval_ms\": 20"));
	stop_app(f);
	snprintf(text, sizeof text,
		 "\"warn\",\"event\":\"upstream\",\"message\":\"a: the upstream is down: %s: "
		 "connection refused\"}",
		 f->name);
	server_fixture_expect_log(f->s, text);
	assert_int_equal(connect_error(f, 0), 0); /* it goes on accepting */
	start_app(f);
	server_fixture_expect_log(f->s, "\"message\":\"a: the upstream is up\"}");
}

static void test_an_upstream_that_is_up_is_no_news(void **state)
{
	struct fixture *f = *state;

	start(f, LISTENER("a", "APP", "\"interval_ms\": 20") "," LISTENER("b", "127.0.0.1:1",
									  "\"interval_ms\": 20"));
	server_fixture_expect_log(f->s, "b: the upstream is down");
	assert_false(is_logged(f, "a: the upstream"));
}

/* The application notices at a unix socket, so nobody is checked for nothing. */
static void test_an_upstream_that_nobody_asks_about_is_left_alone(void **state)
{
	static const char down[] = LISTENER("a", "127.0.0.1:1", "\"interval_ms\": 20");
	struct fixture *f = *state;

	load_with(f, WORKERS, down);
	assert_int_equal(server_fixture_create_loaded(f->s, &f->s->server), 0);
	assert_null(f->s->server->listeners[0]->check);
	server_fixture_run(f->s);
	for (unsigned i = 0; i < 2; i++) {
		reload_to(f, down);
		server_fixture_expect_log(f->s, DOWN); /* found out anew */
		load_with(f, WORKERS, down);
		reload(f);
	}
}

/* --- refusing --- */

static void test_connections_are_refused_while_it_is_down(void **state)
{
	struct fixture *f = *state;

	start(f, CLOSING("a") "," LISTENER("b", "APP", "\"interval_ms\": 20"));
	for (unsigned i = 0; i < 2; i++) {
		stop_app(f);
		server_fixture_expect_log(f->s, "; refusing connections until it accepts them");
		expect_refusing(f, 0);
		assert_int_equal(connect_error(f, 1), 0);
		start_app(f);
		server_fixture_expect_log(f->s,
					  "a: the upstream is up; accepting connections again");
		expect_accepting(f, 0);
	}
	relay(f);
}

static void test_an_application_that_is_late_at_the_start_is_waited_for(void **state)
{
	struct fixture *f = *state;

	test_peer_close(&f->app);
	start(f, CLOSING("a"));
	expect_refusing(f, 0);
	start_app(f);
	expect_accepting(f, 0);
}

static void test_sessions_go_on_while_connections_are_refused(void **state)
{
	struct fixture *f = *state;

	start(f, CLOSING("a"));
	relay(f);
	stop_app(f);
	expect_refusing(f, 0);
	test_peer_send_text(&f->s->upstream, "reply");
	test_peer_expect_text(&f->s->client, "reply");
}

static void test_the_end_comes_also_while_connections_are_refused(void **state)
{
	struct fixture *f = *state;

	start(f, CLOSING("a"));
	stop_app(f);
	expect_refusing(f, 0);
	server_stop(f->s->server);
	server_fixture_join(f->s);
	assert_true(f->s->ended_in_order);
}

/* --- reloads --- */

static void test_a_check_goes_on_through_a_reload(void **state)
{
	struct fixture *f = *state;

	start(f, CLOSING("a"));
	stop_app(f);
	expect_refusing(f, 0);
	reload_to(f, CLOSING("a"));
	expect_refusing(f, 0);
	assert_false(is_logged(f, DOWN));
	start_app(f);
	server_fixture_expect_log(f->s, "a: the upstream is up");
	expect_accepting(f, 0);
}

static void test_a_reload_to_no_closing_reopens(void **state)
{
	struct fixture *f = *state;

	start(f, CLOSING("a"));
	stop_app(f);
	expect_refusing(f, 0);
	reload_to(f, LISTENER("a", "APP", "\"interval_ms\": 20"));
	expect_accepting(f, 0);
	reload_to(f, CLOSING("a"));
	expect_refusing(f, 0);
	reload_to(f, LISTENER("a", "APP", "\"interval_ms\": 0"));
	expect_accepting(f, 0);
}

static void test_a_reload_to_another_upstream_checks_that(void **state)
{
	struct fixture *f = *state;

	start(f, CLOSING("a"));
	relay(f); /* it was up a moment ago, but that is another one */
	reload_to(f, LISTENER("a", "127.0.0.1:1", "\"interval_ms\": 20, \"close_listener\": true"));
	server_fixture_expect_log(f->s, "127.0.0.1:1: connection refused");
	expect_refusing(f, 0);
	reload_to(f, CLOSING("a"));
	expect_accepting(f, 0);
}

static void test_a_listener_that_refuses_can_be_removed(void **state)
{
	struct fixture *f = *state;

	start(f, CLOSING("a") "," LISTENER("b", "127.0.0.1:1", "\"interval_ms\": 0"));
	stop_app(f);
	expect_refusing(f, 0);
	reload_to(f, LISTENER("b", "127.0.0.1:1", "\"interval_ms\": 0"));
	server_fixture_expect_log(f->s, "1 removed");
}

/* --- the resolver --- */

static void test_the_end_does_not_wait_for_the_resolver(void **state)
{
	struct fixture *f = *state;

	start(f, LISTENER("a", "localhost:1", "\"interval_ms\": 20"));
	server_fixture_expect_log(f->s, DOWN);
	resolver_fault_hang();
	resolver_fault_wait_until_asked();
	server_stop(f->s->server);
	server_fixture_join(f->s);
	assert_false(f->s->ended_in_order);
	resolver_fault_go_on();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_the_log_says_that_an_upstream_is_down),
		TEST(test_an_upstream_that_is_up_is_no_news),
		TEST(test_an_upstream_that_nobody_asks_about_is_left_alone),
		TEST(test_connections_are_refused_while_it_is_down),
		TEST(test_an_application_that_is_late_at_the_start_is_waited_for),
		TEST(test_sessions_go_on_while_connections_are_refused),
		TEST(test_the_end_comes_also_while_connections_are_refused),
		TEST(test_a_check_goes_on_through_a_reload),
		TEST(test_a_reload_to_no_closing_reopens),
		TEST(test_a_reload_to_another_upstream_checks_that),
		TEST(test_a_listener_that_refuses_can_be_removed),
		TEST(test_the_end_does_not_wait_for_the_resolver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
