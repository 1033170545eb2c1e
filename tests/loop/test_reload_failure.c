/* SPDX-License-Identifier: MIT */
/* A reload that fails leaves everything as it was, says what was wrong, and is counted. The main loop is run by the
 * test, so that it sees what the main thread has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <uv.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/epoll_fault.h"
#include "loop/resolver_fault.h"
#include "loop/server_fixture.h"
#include "server/server_private.h"

#define WORKERS "\"workers\": 3, "

/* More than a reload has allocations. */
#define MANY 200

#define LISTENER(name, listen, upstream, more)                                           \
	"{\"name\": \"" name "\", \"listen\": \"" listen "\", \"upstream\": \"" upstream \
	"\", " more "\"trusted_proxies\": [\"127.0.0.0/8\"]}"
#define PLAIN LISTENER("a", "127.0.0.1:0", "APP", "")

/* What must not change. */
struct before {
	struct config *config;
	struct server_listener **listeners;
	size_t listener_count;
	unsigned fds;
	uint64_t failed;
};

static void create(struct server_fixture *f, const char *listeners)
{
	if (server_fixture_create(f, WORKERS, listeners) != 0)
		fail_msg("%s", f->error.text);
	assert_true(f->server->reloads.last_succeeded);
}

static struct before remember(const struct server *s)
{
	return (struct before){ s->config, s->listeners, s->listener_count, test_count_fds(),
				s->reloads.failed };
}

static bool is_over(void *data)
{
	return ((const struct server *)data)->reload == NULL;
}

/* From begin to end. */
static void reload(struct server *s)
{
	reload_start(s, "test");
	test_loop_until(&s->loop, is_over, s, "the end of the reload");
}

static void expect_as_before(const struct server *s, const struct before *before)
{
	assert_null(s->reload);
	assert_ptr_equal(s->config, before->config);
	assert_ptr_equal(s->listeners, before->listeners);
	assert_int_equal(s->listener_count, before->listener_count);
	assert_int_equal(test_count_fds(), before->fds);
	assert_int_equal(s->reloads.failed, before->failed + 1);
	assert_int_equal(s->reloads.succeeded, 0);
	assert_false(s->reloads.last_succeeded);
}

/* Reload what was loaded, which cannot be applied because of @text. */
static void expect_failure(struct server_fixture *f, const char *text)
{
	struct before before = remember(f->server);

	server_fixture_skip_log(f);
	reload(f->server);
	expect_as_before(f->server, &before);
	server_fixture_expect_log(f, text);
	server_fixture_expect_log(f, "; the running configuration stays\"");
	server_fixture_relay(f); /* and it works */
	test_peer_close(&f->client);
	test_peer_close(&f->upstream);
	server_fixture_expect_log(f, "\"event\":\"connection\"");
}

static void reload_in_vain(struct server_fixture *f, const char *listeners, const char *text)
{
	create(f, PLAIN);
	server_fixture_load(f, WORKERS, listeners);
	expect_failure(f, text);
}

/* A socket file, which must not stay, and a second new listener that cannot be. */
static void reload_two_in_vain(struct server_fixture *f, const char *second, const char *text)
{
	char listeners[1024];

	snprintf(listeners, sizeof listeners,
		 PLAIN ", {\"name\": \"unix\", \"listen\": \"%s\", \"upstream\": \"APP\", "
		       "\"trusted_proxies\": [\"unix:\"]}, %s",
		 f->unix_text, second);
	reload_in_vain(f, listeners, text);
	assert_int_equal(access(f->unix_text + strlen("unix:"), F_OK), -1);
}

static void test_what_cannot_be_loaded(void **state)
{
	struct server_fixture *f = *state;

	create(f, PLAIN);
	server_fixture_break(f);
	expect_failure(f, "\"test: it is broken; the running");
}

static void test_a_server_without_a_loader(void **state)
{
	struct server_fixture *f = *state;

	create(f, PLAIN);
	f->server->loader.load = NULL;
	expect_failure(f, "\"test: there is nothing to load again; ");
}

static void test_a_port_in_use(void **state)
{
	reload_two_in_vain(*state, LISTENER("b", "APP", "127.0.0.1:9", ""),
			   "Address already in use; another program listens there");
}

/* It is ours, until the reload is done. */
static void test_a_place_that_overlaps_one_that_goes(void **state)
{
	struct server_fixture *f = *state;
	struct test_peer probe;
	char listener[512];
	unsigned port;

	test_peer_listen(&probe, NULL, "127.0.0.1:0", 1);
	port = test_peer_port(&probe);
	test_peer_close(&probe);
	snprintf(listener, sizeof listener,
		 PLAIN ", {\"name\": \"b\", \"listen\": \"127.0.77.1:%u\", \"upstream\": \"APP\", "
		       "\"trusted_proxies\": [\"127.0.0.1\"]}",
		 port);
	create(f, listener);
	snprintf(listener, sizeof listener,
		 PLAIN ", {\"name\": \"c\", \"listen\": \"0.0.0.0:%u\", \"upstream\": \"APP\", "
		       "\"trusted_proxies\": [\"127.0.0.1\"]}",
		 port);
	server_fixture_load(f, WORKERS, listener);
	expect_failure(f, "while listener \\\"b\\\" has that port at 127.0.77.1:");
}

static void test_a_name_that_does_not_exist(void **state)
{
	resolver_fault_forget(true);
	reload_in_vain(*state, LISTENER("a", "127.0.0.1:0", "localhost:9", ""),
		       "listener \\\"a\\\": cannot resolve upstream localhost:9: ");
	resolver_fault_forget(false);
}

/* The others need no answer any more. */
static void test_a_name_that_cannot_be_asked_for(void **state)
{
	struct server_fixture *f = *state;
	struct listener_config *a;

	create(f, PLAIN);
	server_fixture_load(f, WORKERS,
			    LISTENER("a", "127.0.0.1:0", "localhost:9",
				     "") ", " LISTENER("b", "127.0.0.1:0", "localhost:8", ""));
	a = &f->config->listeners[1];
	free(a->upstream[1].host);
	a->upstream[1].host = strdup("no..name");
	expect_failure(f, "listener \\\"b\\\": cannot resolve upstream localhost:8: ");
}

static void test_a_log_that_cannot_be_written(void **state)
{
	struct server_fixture *f = *state;

	create(f, PLAIN);
	server_fixture_load(f, WORKERS, PLAIN ", " LISTENER("b", "127.0.0.1:0", "APP", ""));
	free(f->config->log_output);
	f->config->log_output = strdup("/nowhere/log");
	expect_failure(f, "log.output: /nowhere/log: No such file or directory; ");
}

static void test_too_few_descriptors(void **state)
{
	struct server_fixture *f = *state;
	struct before before;
	struct rlimit old;
	struct rlimit none;
	int next;

	create(f, PLAIN);
	server_fixture_load(f, WORKERS, PLAIN ", " LISTENER("b", "127.0.0.1:0", "APP", ""));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	before = remember(f->server);
	next = fcntl(0, F_DUPFD, 0);
	close(next);
	none = (struct rlimit){ .rlim_cur = (rlim_t)next + 2, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	reload(f->server);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	expect_as_before(f->server, &before);
	server_fixture_expect_log(f, "Too many open files; raise the limit");
}

/* A listener that stays, one that goes, and two that come; nothing of it is done before all can be. */
static void test_every_allocation_may_fail(void **state)
{
	struct server_fixture *f = *state;
	char listeners[1024];
	bool failed = true;
	unsigned count;

	snprintf(listeners, sizeof listeners,
		 LISTENER("new", "127.0.0.1:0", "APP", "") ", " LISTENER(
		     "a", "127.0.0.1:0", "127.0.0.1:9",
		     "\"max_connections_per_client\": 1, ") ", {\"name\": \"unix\", \"listen\": "
							    "\"%s\", \"upstream\": \"APP\", "
							    "\"trusted_proxies\": [\"unix:\"]}",
		 f->unix_text);
	create(f, PLAIN ", " LISTENER("old", "127.0.0.1:0", "APP", ""));
	server_fixture_load(f, WORKERS, listeners);
	for (count = 0; failed && count < MANY; count++) {
		struct before before = remember(f->server);

		fault_arm(count);
		reload_start(f->server, "test");
		failed = fault_disarm();
		if (!failed)
			break;
		expect_as_before(f->server, &before);
		assert_int_equal(access(f->unix_text + strlen("unix:"), F_OK), -1);
	}
	assert_false(failed);
	assert_in_range(count, 20, MANY - 1);
	test_loop_until(&f->server->loop, is_over, f->server, "the end of the reload");
	assert_int_equal(f->server->listener_count, 3);
	assert_true(f->server->reloads.last_succeeded);
	assert_int_equal(f->server->reloads.succeeded, 1);
	assert_int_equal(f->server->reloads.failed, count);
	server_fixture_expect_log(f, "\"test: 1 listener kept, 2 added, 1 removed\"");
	server_fixture_relay(f);
}

/* It is too late to go back, so it has to come right. */
static void test_a_new_socket_that_cannot_be_watched_yet(void **state)
{
	struct server_fixture *f = *state;

	create(f, LISTENER("b", "127.0.0.1:0", "127.0.0.1:9", ""));
	server_fixture_load(f, WORKERS, PLAIN);
	epoll_fault_allow(0);
	reload(f->server);
	assert_true(f->server->reloads.last_succeeded);
	server_fixture_expect_log(f, "a: cannot accept: no space left on device; trying again");
	epoll_fault_allow(-1);
	server_fixture_relay(f);
}

/* --- what takes a restart --- */

static void test_what_cannot_be_changed_is_said(void **state)
{
	struct server_fixture *f = *state;

	create(f, LISTENER("a", "127.0.0.1:0", "APP", "\"max_connections_per_client\": 7, "));
	server_fixture_load(f, "\"workers\": 2, \"user\": \"somebody\", ",
			    LISTENER("a", "127.0.0.1:0", "APP",
				     "\"max_connections_per_client\": 7, \"max_tracked_clients\": "
				     "2000, "));
	reload(f->server);
	assert_true(f->server->reloads.last_succeeded);
	assert_int_equal(f->server->worker_count, 3);
	server_fixture_expect_log(f, "`workers` takes a restart (or SIGUSR2) to change: 3 stay");
	server_fixture_expect_log(f, "`user` takes a restart to change");
	server_fixture_expect_log(f, "a: `max_tracked_clients` takes a restart");
	server_fixture_relay(f);
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, server_fixture_setup, server_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_what_cannot_be_loaded),
		TEST(test_a_server_without_a_loader),
		TEST(test_a_port_in_use),
		TEST(test_a_place_that_overlaps_one_that_goes),
		TEST(test_a_name_that_does_not_exist),
		TEST(test_a_name_that_cannot_be_asked_for),
		TEST(test_a_log_that_cannot_be_written),
		TEST(test_too_few_descriptors),
		TEST(test_every_allocation_may_fail),
		TEST(test_a_new_socket_that_cannot_be_watched_yet),
		TEST(test_what_cannot_be_changed_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
