/* SPDX-License-Identifier: MIT */
/* A changed configuration is taken over by a server that runs: what has not changed its place goes on. */
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_loop.h"
#include "loop/resolver_fault.h"
#include "loop/server_fixture.h"

#define WORKERS "\"workers\": 3, "

/* Listens on loopback, at a port of the kernel's choice. */
#define LISTENER(name, trusted) LISTENER_AT("127.0.0.1:0", name, trusted)
#define LISTENER_AT(place, name, trusted)               \
	"{\"name\": \"" name "\", \"listen\": \"" place \
	"\", \"upstream\": \"APP\", \"trusted_proxies\": [" trusted "]}"
#define LOOPBACK "\"127.0.0.0/8\""
#define STRANGER "\"192.0.2.1\""

/* Reloads under load. */
#define RELOADS 50
#define CROWD   8

static void start(struct server_fixture *f, const char *listeners)
{
	if (server_fixture_create(f, WORKERS, listeners) != 0)
		fail_msg("%s", f->error.text);
	server_fixture_run(f);
}

/* Load what the fixture has; the log says @expected then. */
static void reload(struct server_fixture *f, const char *expected)
{
	server_fixture_skip_log(f);
	kill(getpid(), SIGHUP);
	server_fixture_expect_log(f, expected);
}

static void reload_to(struct server_fixture *f, const char *listeners, const char *expected)
{
	server_fixture_load(f, WORKERS, listeners);
	reload(f, expected);
}

/* Where a listener has said that it listens: "127.0.0.1:4711". */
static void place_of(struct server_fixture *f, const char *name, char place[static 64])
{
	char text[64];
	const char *at = f->log_text;
	const char *last = NULL;

	snprintf(text, sizeof text, "\"%s: listening on ", name);
	server_fixture_expect_log(f, text);
	for (; (at = strstr(at, text)) != NULL; last = at)
		at += strlen(text);
	assert_non_null(last);
	snprintf(place, 64, "%.*s", (int)strcspn(last, ","), last);
}

/* A client of the listener at @place reaches the application. */
static void talk(struct server_fixture *f, const char *place)
{
	test_peer_connect(&f->client, NULL, place, NULL);
	test_peer_send_text(&f->client, HEADER "hello");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "hello");
}

static void go_on_talking(struct server_fixture *f)
{
	test_peer_send_text(&f->client, "still here");
	test_peer_expect_text(&f->upstream, "still here");
	test_peer_send_text(&f->upstream, "so am I");
	test_peer_expect_text(&f->client, "so am I");
}

static void hang_up(struct server_fixture *f)
{
	test_peer_close(&f->client);
	test_peer_expect_end(&f->upstream);
	test_peer_close(&f->upstream);
}

/* Nobody listens there. */
static void expect_closed(const char *place)
{
	struct test_peer client;
	char byte;

	test_peer_connect(&client, NULL, place, NULL);
	test_loop_until_ready(NULL, client.fd, POLLIN, "a closed port");
	assert_int_equal(recv(client.fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	test_peer_close(&client);
}

/* Somebody listens there who does not trust us. */
static void expect_refused(const char *place)
{
	struct test_peer client;

	test_peer_connect(&client, NULL, place, NULL);
	test_peer_expect_reset(&client);
	test_peer_close(&client);
}

/* A port that is free at addresses of 127.0.0.0/8 which nobody else uses. */
static unsigned free_port(void)
{
	struct test_peer probe;
	unsigned port;

	test_peer_listen(&probe, NULL, "127.0.0.1:0", 1);
	port = test_peer_port(&probe);
	test_peer_close(&probe);
	return port;
}

/* --- what stays --- */

static void test_nothing_happens_to_what_has_not_changed(void **state)
{
	struct server_fixture *f = *state;
	char place[64];

	start(f, LISTENER("a", LOOPBACK));
	place_of(f, "a", place);
	talk(f, place);
	reload(f, "\"SIGHUP: 1 listener kept, 0 added, 0 removed\"");
	go_on_talking(f);
	hang_up(f);
	talk(f, place);
}

static void test_a_trust_list_is_for_new_connections(void **state)
{
	struct server_fixture *f = *state;
	char place[64];

	start(f, LISTENER("a", LOOPBACK));
	place_of(f, "a", place);
	talk(f, place);
	reload_to(f, LISTENER("a", STRANGER), "1 listener kept, 0 added");
	for (unsigned i = 0; i < CROWD; i++) /* whichever worker they meet */
		expect_refused(place);
	go_on_talking(f);
	hang_up(f);
	reload_to(f, LISTENER("a", LOOPBACK), "1 listener kept, 0 added");
	talk(f, place);
}

static void test_trust_in_everybody_is_warned_of_once(void **state)
{
	struct server_fixture *f = *state;

	start(f, LISTENER("a", LOOPBACK));
	reload_to(f, LISTENER("a", "\"0.0.0.0/0\""), "1 listener kept, 0 added");
	assert_non_null(strstr(f->log_text, "\"event\":\"open_trust\""));
	reload(f, "1 listener kept, 0 added");
	assert_null(strstr(f->log_text + f->log_skipped, "\"event\":\"open_trust\""));
}

/* A listener @name at @place, whose application has port @app. */
static const char *fixed_listener(char text[static 512], const char *name, const char *place,
				  unsigned app)
{
	snprintf(text, 512,
		 "{\"name\": \"%s\", \"listen\": \"%s\", \"upstream\": \"127.0.0.1:%u\", "
		 "\"trusted_proxies\": [" LOOPBACK "]}",
		 name, place, app);
	return text;
}

static void two_listeners(char text[static 1026], const char *first, const char *second,
			  unsigned apps[2])
{
	char one[512];
	char two[512];

	snprintf(text, 1026, "%s, %s", fixed_listener(one, "a", first, apps[0]),
		 fixed_listener(two, "b", second, apps[1]));
}

static void test_listeners_may_swap_their_places(void **state)
{
	struct server_fixture *f = *state;
	struct test_peer other;
	char at[2][64];
	char text[1026];
	unsigned apps[2];
	unsigned port = free_port();

	test_peer_listen(&other, NULL, "127.0.0.1:0", 16);
	apps[0] = test_peer_port(&f->app);
	apps[1] = test_peer_port(&other);
	for (unsigned i = 0; i < 2; i++)
		snprintf(at[i], sizeof at[i], "127.0.77.%u:%u", i + 1, port);
	two_listeners(text, at[0], at[1], apps);
	start(f, text);
	talk(f, at[0]);
	two_listeners(text, at[1], at[0], apps);
	reload_to(f, text, "2 listeners kept, 0 added, 0 removed");
	go_on_talking(f);
	hang_up(f);
	server_fixture_expect_log(f, "\"listener\":\"a\",\"outcome\":\"finished\"");
	talk(f, at[1]);
	hang_up(f);
	test_peer_close(&f->app);
	f->app = other;
	talk(f, at[0]);
	hang_up(f);
	server_fixture_expect_log(f, "\"listener\":\"b\",\"outcome\":\"finished\"");
}

static void test_a_new_name_does_not_cost_the_socket(void **state)
{
	struct server_fixture *f = *state;
	unsigned app = test_peer_port(&f->app);
	char listener[512];
	char place[64];

	snprintf(place, sizeof place, "127.0.77.1:%u", free_port());
	start(f, fixed_listener(listener, "before", place, app));
	talk(f, place);
	reload_to(f, fixed_listener(listener, "after", place, app),
		  "1 listener kept, 0 added, 0 removed");
	hang_up(f);
	server_fixture_expect_log(f, "\"listener\":\"before\"");
	talk(f, place);
	hang_up(f);
	server_fixture_expect_log(f, "\"listener\":\"after\"");
}

/* --- what comes and goes --- */

static void test_listeners_come_and_go(void **state)
{
	struct server_fixture *f = *state;
	char a[64];
	char b[64];

	start(f, LISTENER("a", LOOPBACK));
	place_of(f, "a", a);
	talk(f, a);
	reload_to(f, LISTENER("b", LOOPBACK) ", " LISTENER("a", LOOPBACK),
		  "1 listener kept, 1 added, 0 removed");
	place_of(f, "b", b);
	go_on_talking(f);
	hang_up(f);
	talk(f, b);
	reload_to(f, LISTENER("a", LOOPBACK), "1 listener kept, 0 added, 1 removed");
	go_on_talking(f); /* its listener is gone, and it is not */
	expect_closed(b);
	hang_up(f);
	talk(f, a);
}

/* With the last session of a listener, its memory goes; the sanitizer would tell. */
static void test_all_listeners_may_go(void **state)
{
	struct server_fixture *f = *state;
	char place[64];

	start(f, LISTENER("a", LOOPBACK) ", " LISTENER("b", LOOPBACK));
	place_of(f, "a", place);
	talk(f, place);
	reload_to(f, LISTENER("c", LOOPBACK), "0 listeners kept, 1 added, 2 removed");
	go_on_talking(f);
	hang_up(f);
	place_of(f, "c", place);
	talk(f, place);
}

static void test_who_has_connected_to_a_listener_that_goes_is_served(void **state)
{
	struct server_fixture *f = *state;
	struct test_peer clients[CROWD];
	char place[64];

	start(f, LISTENER("a", LOOPBACK) ", " LISTENER("b", LOOPBACK));
	place_of(f, "b", place);
	server_fixture_load(f, WORKERS, LISTENER("a", LOOPBACK));
	for (unsigned i = 0; i < CROWD; i++)
		test_peer_connect(&clients[i], NULL, place, NULL);
	reload(f, "1 listener kept, 0 added, 1 removed");
	for (unsigned i = 0; i < CROWD; i++) {
		struct test_peer upstream;

		test_peer_send_text(&clients[i], HEADER "hello");
		test_peer_accept(&f->app, &upstream);
		test_peer_expect_text(&upstream, "hello");
		test_peer_close(&upstream);
		test_peer_close(&clients[i]);
	}
}

static void unix_listener(const struct server_fixture *f, char text[static 512])
{
	snprintf(text, 512,
		 ", {\"name\": \"unix\", \"listen\": \"%s\", \"upstream\": \"APP\", "
		 "\"trusted_proxies\": [\"unix:\"]}",
		 f->unix_text);
}

static void test_unix_sockets_come_stay_and_go(void **state)
{
	struct server_fixture *f = *state;
	const char *path = f->unix_text + strlen("unix:");
	char listeners[1024] = LISTENER("a", LOOPBACK);
	struct stat before;
	struct stat after;

	start(f, listeners);
	unix_listener(f, listeners + strlen(listeners));
	reload_to(f, listeners, "1 listener kept, 1 added, 0 removed");
	talk(f, f->unix_text);
	assert_int_equal(stat(path, &before), 0);
	reload_to(f, listeners, "2 listeners kept, 0 added, 0 removed");
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	reload_to(f, LISTENER("a", LOOPBACK), "1 listener kept, 0 added, 1 removed");
	assert_int_equal(access(path, F_OK), -1);
	go_on_talking(f);
}

/* --- upstreams --- */

static void test_a_new_name_of_an_upstream_is_looked_up(void **state)
{
	struct server_fixture *f = *state;
	char listener[512];
	char place[64];

	start(f, LISTENER("a", LOOPBACK));
	place_of(f, "a", place);
	snprintf(listener, sizeof listener,
		 "{\"name\": \"a\", \"listen\": \"127.0.0.1:0\", \"upstream\": \"localhost:%u\", "
		 "\"trusted_proxies\": [" LOOPBACK "]}",
		 test_peer_port(&f->app));
	reload_to(f, listener, "1 listener kept, 0 added, 0 removed");
	talk(f, place);
	hang_up(f);
	resolver_fault_hang(); /* nobody asks: the name is the same */
	reload(f, "1 listener kept, 0 added, 0 removed");
	talk(f, place);
	resolver_fault_go_on();
}

/* --- several at once --- */

static void test_a_reload_that_comes_too_soon_follows(void **state)
{
	struct server_fixture *f = *state;
	char place[64];

	start(f, LISTENER("a", LOOPBACK));
	place_of(f, "a", place);
	server_fixture_load(f, WORKERS,
			    "{\"name\": \"a\", \"listen\": \"127.0.0.1:0\", \"upstream\": "
			    "\"localhost:9\", \"trusted_proxies\": [" LOOPBACK "]}");
	resolver_fault_hang();
	kill(getpid(), SIGHUP);
	resolver_fault_wait_until_asked();
	talk(f, place); /* meanwhile, nothing is different */
	hang_up(f);
	server_fixture_load(f, WORKERS, LISTENER("a", LOOPBACK) ", " LISTENER("b", LOOPBACK));
	kill(getpid(), SIGHUP);
	kill(getpid(), SIGHUP);
	resolver_fault_go_on();
	server_fixture_expect_log(f, "\"SIGHUP: 1 listener kept, 0 added, 0 removed\"");
	server_fixture_expect_log(f, "\"SIGHUP: 1 listener kept, 1 added, 0 removed\"");
	talk(f, place);
}

static void test_connections_come_while_reloads_do(void **state)
{
	static const char *const listeners[] = {
		LISTENER("a", LOOPBACK),
		LISTENER("b", LOOPBACK) ", " LISTENER("a", LOOPBACK ", " STRANGER),
		LISTENER("a", LOOPBACK) ", " LISTENER("c", STRANGER),
	};
	struct server_fixture *f = *state;
	char place[64];

	start(f, listeners[0]);
	place_of(f, "a", place);
	for (unsigned i = 0; i < RELOADS; i++) {
		server_fixture_load(f, WORKERS, listeners[i % ARRAY_SIZE(listeners)]);
		server_fixture_skip_log(f);
		kill(getpid(), SIGHUP);
		for (unsigned n = 0; n < CROWD; n++) {
			talk(f, place);
			hang_up(f);
		}
		server_fixture_expect_log(f, "\"SIGHUP: 1 listener kept, ");
	}
}

/* --- the end --- */

static void test_a_reload_while_draining_is_ignored(void **state)
{
	struct server_fixture *f = *state;
	char place[64];

	start(f, LISTENER("a", LOOPBACK));
	place_of(f, "a", place);
	talk(f, place);
	server_stop(f->server);
	server_fixture_expect_log(f, "\"event\":\"stopping\"");
	reload_to(f, LISTENER("b", LOOPBACK), "\"SIGHUP: ignored, for we are to stop\"");
	go_on_talking(f);
	hang_up(f);
	server_fixture_join(f);
	assert_true(f->ended_in_order);
}

/* The workers have the changes before the order to stop, or the reload is not begun. */
static void test_a_stop_right_after_a_reload_loses_nothing(void **state)
{
	struct server_fixture *f = *state;

	start(f, LISTENER("a", LOOPBACK));
	server_fixture_load(f, WORKERS, LISTENER("b", LOOPBACK));
	kill(getpid(), SIGHUP);
	kill(getpid(), SIGTERM);
	server_fixture_join(f);
	assert_true(f->ended_in_order);
}

static void wait_for_a_name(struct server_fixture *f)
{
	start(f, LISTENER("a", LOOPBACK));
	server_fixture_load(f, WORKERS,
			    "{\"name\": \"b\", \"listen\": \"127.0.0.1:0\", \"upstream\": "
			    "\"localhost:9\", \"trusted_proxies\": [" LOOPBACK "]}");
	resolver_fault_hang();
	kill(getpid(), SIGHUP);
	resolver_fault_wait_until_asked();
}

static void test_a_stop_while_names_are_looked_up_gives_the_reload_up(void **state)
{
	struct server_fixture *f = *state;

	wait_for_a_name(f);
	kill(getpid(), SIGTERM);
	server_fixture_expect_log(f, "\"event\":\"stopping\"");
	resolver_fault_go_on();
	server_fixture_join(f);
	assert_true(f->ended_in_order);
	server_fixture_end(f);
	assert_non_null(strstr(f->log_text, "\"SIGHUP: given up\""));
	assert_null(strstr(f->log_text, "b: listening"));
}

static void test_a_stop_does_not_wait_for_a_name(void **state)
{
	struct server_fixture *f = *state;

	wait_for_a_name(f);
	kill(getpid(), SIGTERM);
	server_fixture_join(f);
	assert_false(f->ended_in_order);
	resolver_fault_go_on();
	server_fixture_end(f);
	assert_non_null(strstr(f->log_text, "a name lookup has not ended"));
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, server_fixture_setup, server_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_nothing_happens_to_what_has_not_changed),
		TEST(test_a_trust_list_is_for_new_connections),
		TEST(test_trust_in_everybody_is_warned_of_once),
		TEST(test_listeners_may_swap_their_places),
		TEST(test_a_new_name_does_not_cost_the_socket),
		TEST(test_listeners_come_and_go),
		TEST(test_all_listeners_may_go),
		TEST(test_who_has_connected_to_a_listener_that_goes_is_served),
		TEST(test_unix_sockets_come_stay_and_go),
		TEST(test_a_new_name_of_an_upstream_is_looked_up),
		TEST(test_a_reload_that_comes_too_soon_follows),
		TEST(test_connections_come_while_reloads_do),
		TEST(test_a_reload_while_draining_is_ignored),
		TEST(test_a_stop_right_after_a_reload_loses_nothing),
		TEST(test_a_stop_while_names_are_looked_up_gives_the_reload_up),
		TEST(test_a_stop_does_not_wait_for_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
