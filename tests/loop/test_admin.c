/* SPDX-License-Identifier: MIT */
/* The admin endpoint of a whole server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/server_fixture.h"
#include "server/reload.h"
#include "server/server_private.h"

#define LISTENERS                                                                \
	"{\"name\": \"a\", \"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\", " \
	"\"trusted_proxies\": [\"127.0.0.1\"]}"

/* More allocations than there are */
#define MANY 500

struct fixture {
	struct server_fixture *s;
	char places[2][96]; /* of unix sockets */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	server_fixture_setup((void **)&f->s);
	for (int i = 0; i < 2; i++)
		snprintf(f->places[i], sizeof f->places[i], "unix:%s/admin%d", f->s->directory, i);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	server_fixture_teardown((void **)&f->s);
	free(f);
	return 0;
}

/* Load a configuration that listens at place number @place, or nowhere if it is -1. */
static void load(struct fixture *f, int place)
{
	char keys[256] = "\"workers\": 2,";

	if (place >= 0)
		snprintf(keys, sizeof keys, "\"workers\": 2, \"admin\": {\"listen\": \"%s\"},",
			 f->places[place]);
	server_fixture_load(f->s, keys, LISTENERS);
}

static void start(struct fixture *f, int place)
{
	load(f, place);
	assert_int_equal(server_fixture_create_loaded(f->s, &f->s->server), 0);
}

static bool exists(const struct fixture *f, int place)
{
	return access(f->places[place] + strlen("unix:"), F_OK) == 0;
}

/* Ask for a page; @loop NULL: the server runs in its thread. What comes begins with @line and contains @text. */
static void expect_page(struct fixture *f, uv_loop_t *loop, int place, const char *path,
			const char *line, const char *text)
{
	static char answer[1 << 16];
	struct test_peer p;
	char request[128];
	size_t size = 0;
	ssize_t n;

	test_peer_connect(&p, loop, f->places[place], NULL);
	snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
	test_peer_send_text(&p, request);
	do {
		test_loop_until_ready(loop, p.fd, POLLIN, "the answer");
		n = recv(p.fd, answer + size, sizeof answer - 1 - size, 0);
		assert_true(n >= 0);
		size += (size_t)n;
	} while (n > 0);
	answer[size] = '\0';
	assert_memory_equal(answer, line, strlen(line));
	if (strstr(answer, text) == NULL)
		fail_msg("there is no %s in %s", text, answer);
	test_peer_close(&p);
}

static void test_pages_are_served_while_connections_are(void **state)
{
	struct fixture *f = *state;

	start(f, 0);
	server_fixture_run(f->s);
	server_fixture_relay(f->s);
	expect_page(f, NULL, 0, "/metrics", "HTTP/1.1 200 ",
		    "\nunproxy_connections_accepted_total{listener=\"a\"} 1\n");
	expect_page(f, NULL, 0, "/connections", "HTTP/1.1 200 ", "\"client\":\"203.0.113.7:4711\"");
	expect_page(f, NULL, 0, "/healthz", "HTTP/1.1 200 ", "{\"status\":\"ok\"}");
	expect_page(f, NULL, 0, "/", "HTTP/1.1 200 ", "/metrics");
	expect_page(f, NULL, 0, "/no", "HTTP/1.1 404 ", "404 Not Found: / lists the pages\n");
}

static void test_pages_are_served_until_the_last_connection_has_ended(void **state)
{
	struct fixture *f = *state;

	start(f, 0);
	server_fixture_run(f->s);
	server_fixture_relay(f->s);
	server_stop(f->s->server);
	server_fixture_expect_log(f->s, "\"stopping\"");
	expect_page(f, NULL, 0, "/readyz", "HTTP/1.1 503 ", "draining");
	expect_page(f, NULL, 0, "/connections", "HTTP/1.1 200 ", "\"total\":1,");
	test_peer_close(&f->s->client);
	test_peer_close(&f->s->upstream);
	server_fixture_join(f->s);
	assert_false(exists(f, 0));
}

static bool is_over(void *data)
{
	return ((const struct server *)data)->reload == NULL;
}

static void reload(struct fixture *f)
{
	reload_start(f->s->server, "test");
	test_loop_until(&f->s->server->loop, is_over, f->s->server, "the end of the reload");
}

static void test_a_reload_moves_it(void **state)
{
	struct fixture *f = *state;
	uv_loop_t *loop;

	start(f, 0);
	loop = &f->s->server->loop;
	expect_page(f, loop, 0, "/healthz", "HTTP/1.1 200 ", "ok");
	load(f, 1);
	reload(f);
	assert_false(exists(f, 0));
	expect_page(f, loop, 1, "/healthz", "HTTP/1.1 200 ", "ok");
	load(f, -1);
	reload(f);
	assert_false(exists(f, 1));
	server_fixture_expect_log(f->s, "\"not listening any more\"");
	load(f, 0);
	reload(f);
	expect_page(f, loop, 0, "/healthz", "HTTP/1.1 200 ", "ok");
}

/* The last thing that may fail, the log, does: what was prepared is undone. */
static void test_a_reload_that_fails_does_not_move_it(void **state)
{
	struct fixture *f = *state;

	start(f, 0);
	load(f, 1);
	free(f->s->config->log_output);
	f->s->config->log_output = strdup("/nowhere/log");
	reload(f);
	assert_int_equal(f->s->server->reloads.failed, 1);
	assert_false(exists(f, 1));
	expect_page(f, &f->s->server->loop, 0, "/metrics", "HTTP/1.1 200 ",
		    "\nunproxy_config_last_reload_success 0\n");
}

static void test_every_allocation_at_the_start_may_fail(void **state)
{
	struct fixture *f = *state;
	bool failed = true;

	load(f, 0);
	for (unsigned count = 0; failed && count < MANY; count++) {
		int rv;

		fault_arm(count);
		rv = server_fixture_create_loaded(f->s, &f->s->server);
		failed = fault_disarm();
		assert_int_equal(rv, failed ? -ENOMEM : 0);
		assert_int_equal(exists(f, 0), !failed);
	}
	assert_false(failed);
	expect_page(f, &f->s->server->loop, 0, "/healthz", "HTTP/1.1 200 ", "ok");
}

static void test_every_allocation_of_a_reload_may_fail(void **state)
{
	struct fixture *f = *state;
	uv_loop_t *loop;
	bool failed = true;

	start(f, 0);
	loop = &f->s->server->loop;
	load(f, 1);
	for (unsigned count = 0; failed && count < MANY; count++) {
		fault_arm(count);
		reload_start(f->s->server, "test");
		failed = fault_disarm();
		if (failed) {
			assert_false(exists(f, 1));
			expect_page(f, loop, 0, "/healthz", "HTTP/1.1 200 ", "ok");
		}
	}
	assert_false(failed);
	test_loop_until(loop, is_over, f->s->server, "the end of the reload");
	assert_false(exists(f, 0));
	expect_page(f, loop, 1, "/healthz", "HTTP/1.1 200 ", "ok");
}

/* Every page has a place where memory may run out. */
static void test_without_memory_a_page_is_an_error(void **state)
{
	static const char *const paths[] = { "/", "/metrics", "/readyz", "/healthz" };
	struct fixture *f = *state;
	uv_loop_t *loop;

	start(f, 0);
	loop = &f->s->server->loop;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		fault_arm(1); /* the request itself is the first */
		expect_page(f, loop, 0, paths[i], "HTTP/1.1 500 ", "500 Internal Server Error");
		assert_true(fault_disarm());
		expect_page(f, loop, 0, paths[i], "HTTP/1.1 200 ", "");
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_pages_are_served_while_connections_are),
		TEST(test_pages_are_served_until_the_last_connection_has_ended),
		TEST(test_a_reload_moves_it),
		TEST(test_a_reload_that_fails_does_not_move_it),
		TEST(test_every_allocation_at_the_start_may_fail),
		TEST(test_every_allocation_of_a_reload_may_fail),
		TEST(test_without_memory_a_page_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
