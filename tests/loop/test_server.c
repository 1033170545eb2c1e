/* SPDX-License-Identifier: MIT */
/* The process as a whole: it starts or says why not, serves with several threads, and ends in order. */
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
#include <sys/resource.h>
#include <unistd.h>

#include <uv.h>

#include <cmocka.h>

#include "lib/test_loop.h"
#include "loop/resolver_fault.h"
#include "loop/server_fixture.h"

#define CROWD 64

/* --- serving --- */

static void serve_a_crowd(struct server_fixture *f)
{
	struct test_peer clients[CROWD];

	for (unsigned i = 0; i < CROWD; i++) {
		server_fixture_connect(f, 0, &clients[i]);
		test_peer_send_text(&clients[i], HEADER "hello");
	}
	for (unsigned i = 0; i < CROWD; i++) {
		struct test_peer upstream;

		test_peer_accept(&f->app, &upstream);
		test_peer_expect_text(&upstream, "hello");
		test_peer_send_text(&upstream, "good bye");
		test_peer_close(&upstream);
	}
	for (unsigned i = 0; i < CROWD; i++) {
		test_peer_expect_text(&clients[i], "good bye");
		test_peer_expect_end(&clients[i]);
		test_peer_close(&clients[i]);
	}
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)) != NULL; text += strlen(what))
		n++;
	return n;
}

static void serve_with(struct server_fixture *f, unsigned workers)
{
	char listening[64];

	server_fixture_start(f, workers, "");
	snprintf(listening, sizeof listening,
		 "test: listening on 127.0.0.1:%u, upstream 127.0.0.1:%u\"",
		 server_port(f->server, 0), test_peer_port(&f->app));
	serve_a_crowd(f);
	server_stop(f->server);
	server_fixture_join(f);
	assert_true(f->ended_in_order);
	server_fixture_end(f);
	assert_int_equal(count(f->log_text, "\"outcome\":\"finished\""), CROWD);
	assert_non_null(strstr(f->log_text, listening));
	assert_non_null(strstr(f->log_text, "all connections have ended"));
}

static void test_one_worker_serves(void **state)
{
	struct server_fixture *f = *state;

	serve_with(f, 1);
	assert_non_null(strstr(f->log_text, "1 worker,"));
}

/* Connections are numbered in steps of four, a worker each, so that no number comes twice. */
static void assert_ids_are_unique(const struct server_fixture *f)
{
	bool seen[4 * CROWD + 1] = { false };
	unsigned workers = 0;

	for (const char *at = f->log_text; (at = strstr(at, "\"id\":")) != NULL; at++) {
		unsigned id = (unsigned)atoi(at + strlen("\"id\":"));

		assert_in_range(id, 1, 4 * CROWD);
		assert_false(seen[id]);
		seen[id] = true;
		workers += id <= 4;
	}
	assert_true(workers > 1);
}

static void test_four_workers_serve(void **state)
{
	struct server_fixture *f = *state;

	serve_with(f, 4);
	assert_non_null(strstr(f->log_text, "4 workers,"));
	assert_ids_are_unique(f);
}

static void test_there_is_a_worker_for_each_cpu(void **state)
{
	struct server_fixture *f = *state;
	char text[32];

	assert_int_equal(
	    server_fixture_create(f, "",
				  "{\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\", "
				  "\"trusted_proxies\": [\"127.0.0.0/8\"]}"),
	    0);
	server_fixture_end(f);
	snprintf(text, sizeof text, ": %u worker", uv_available_parallelism());
	assert_non_null(strstr(f->log_text, text));
}

static void test_workers_share_a_unix_socket_and_take_it_away(void **state)
{
	struct server_fixture *f = *state;
	char listener[512];
	struct test_peer client;

	snprintf(listener, sizeof listener,
		 "{\"name\": \"unix\", \"listen\": \"%s\", \"upstream\": {\"ipv4\": \"APP\", "
		 "\"ipv6\": \"[::1]:9\"}, \"trusted_proxies\": [\"unix:\"]}",
		 f->unix_text);
	assert_int_equal(server_fixture_create(f, "\"workers\": 2, ", listener), 0);
	assert_int_equal(server_port(f->server, 0), 0);
	server_fixture_run(f);
	for (unsigned i = 0; i < 8; i++) {
		struct test_peer upstream;

		test_peer_connect(&client, NULL, f->unix_text, NULL);
		test_peer_send_text(&client, HEADER "hello");
		test_peer_accept(&f->app, &upstream);
		test_peer_expect_text(&upstream, "hello");
		test_peer_close(&upstream);
		test_peer_close(&client);
	}
	server_stop(f->server);
	server_fixture_join(f);
	assert_int_equal(access(f->unix_text + strlen("unix:"), F_OK), -1);
	server_fixture_end(f);
	assert_non_null(strstr(f->log_text, "unix: listening on unix:/"));
	assert_non_null(strstr(f->log_text, " and [::1]:9"));
}

/* Over all workers together. */
static void test_a_limit_counts_for_the_whole_process(void **state)
{
	struct server_fixture *f = *state;
	struct test_peer clients[8];

	assert_int_equal(
	    server_fixture_create(f, "\"workers\": 4, ",
				  "{\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\", "
				  "\"max_connections\": 1, "
				  "\"trusted_proxies\": [\"127.0.0.0/8\"]}"),
	    0);
	server_fixture_run(f);
	server_fixture_relay(f);
	for (size_t i = 0; i < 8; i++) {
		server_fixture_connect(f, 0, &clients[i]);
		test_peer_expect_reset(&clients[i]);
		test_peer_close(&clients[i]);
	}
}

static void test_what_would_be_unwise_is_logged(void **state)
{
	struct server_fixture *f = *state;

	assert_int_equal(
	    server_fixture_create(f, "\"workers\": 1, ",
				  "{\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\", "
				  "\"max_connections\": 1000000, "
				  "\"trusted_proxies\": [\"0.0.0.0/0\"]}"),
	    0);
	server_fixture_end(f);
	assert_non_null(strstr(f->log_text, "\"event\":\"open_trust\""));
	assert_non_null(strstr(f->log_text, "max_connections adds up to 1000000"));
}

static void test_the_limit_on_open_files_is_raised(void **state)
{
	struct server_fixture *f = *state;
	struct rlimit limit;
	struct rlimit old;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = (struct rlimit){ .rlim_cur = 256, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	server_fixture_start(f, 1, "");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(limit.rlim_cur, old.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

/* --- the end --- */

static void test_a_connection_outlives_the_order_to_stop(void **state)
{
	struct server_fixture *f = *state;
	unsigned port;
	char name[32];

	server_fixture_start(f, 4, "");
	port = server_port(f->server, 0);
	server_fixture_relay(f);
	server_stop(f->server);
	server_fixture_expect_log(f, "stopped: accepting no more; 1 connections have");
	for (unsigned i = 0; i < 10; i++) {
		test_peer_send_text(&f->client, "still here");
		test_peer_expect_text(&f->upstream, "still here");
	}
	test_peer_close(&f->client);
	test_peer_expect_end(&f->upstream);
	test_peer_close(&f->upstream);
	server_fixture_join(f);
	assert_true(f->ended_in_order);
	snprintf(name, sizeof name, "127.0.0.1:%u", port);
	test_peer_listen(&f->client, NULL, name, 1); /* the port is free */
	server_fixture_end(f);
	assert_non_null(strstr(f->log_text, "\"outcome\":\"finished\""));
}

static void test_a_connection_that_takes_too_long_is_reset(void **state)
{
	struct server_fixture *f = *state;

	server_fixture_start(f, 2, "\"shutdown_timeout_ms\": 20, ");
	server_fixture_relay(f);
	server_stop(f->server);
	test_peer_expect_reset(&f->client);
	test_peer_expect_reset(&f->upstream);
	server_fixture_join(f);
	assert_true(f->ended_in_order);
	server_fixture_end(f);
	assert_non_null(strstr(f->log_text, "resetting the 1 connections left"));
	assert_non_null(strstr(f->log_text, "\"outcome\":\"shutdown\""));
}

static void test_a_first_signal_drains_and_a_second_one_ends(void **state)
{
	static const int signals[][2] = { { SIGTERM, SIGTERM }, { SIGINT, SIGTERM } };
	struct server_fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		server_fixture_start(f, 2, "");
		server_fixture_relay(f);
		kill(getpid(), signals[i][0]);
		server_fixture_expect_log(f, i == 0 ? "SIGTERM: accept" : "SIGINT: accept");
		test_peer_send_text(&f->client, "still here");
		test_peer_expect_text(&f->upstream, "still here");
		kill(getpid(), signals[i][1]);
		test_peer_expect_reset(&f->client);
		test_peer_expect_reset(&f->upstream);
		server_fixture_join(f);
		assert_true(f->ended_in_order);
		server_destroy(f->server);
		f->server = NULL;
		test_peer_close(&f->client);
		test_peer_close(&f->upstream);
	}
}

static void test_other_signals_do_not_end_it(void **state)
{
	struct server_fixture *f = *state;

	server_fixture_start(f, 1, "");
	server_fixture_relay(f);
	kill(getpid(), SIGHUP);
	server_fixture_expect_log(f, "\"event\":\"reload\"");
	assert_int_equal(unlink(f->log_path), 0);
	close(f->log_fd);
	server_fixture_open_log(f);
	kill(getpid(), SIGUSR1);
	do /* until a line comes after that */
		kill(getpid(), SIGHUP);
	while (poll(&(struct pollfd){ .fd = f->log_fd, .events = POLLIN }, 1, 20) == 0);
	server_fixture_expect_log(f, "\"event\":\"reload\"");
	test_peer_send_text(&f->client, "still here");
	test_peer_expect_text(&f->upstream, "still here");
}

static void test_destroying_resets_what_is_open(void **state)
{
	struct server_fixture *f = *state;

	assert_int_equal(
	    server_fixture_create(f, "\"workers\": 2, ",
				  "{\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\", "
				  "\"trusted_proxies\": [\"127.0.0.0/8\"]}"),
	    0);
	server_fixture_relay(f);
	server_fixture_end(f);
	test_peer_expect_reset(&f->client);
	test_peer_expect_reset(&f->upstream);
	server_destroy(NULL);
}

static void test_a_stop_before_the_start_is_not_forgotten(void **state)
{
	struct server_fixture *f = *state;

	assert_int_equal(
	    server_fixture_create(f, "\"workers\": 2, ",
				  "{\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\", "
				  "\"trusted_proxies\": [\"127.0.0.0/8\"]}"),
	    0);
	server_stop(f->server);
	server_stop(f->server);
	assert_true(server_run(f->server));
}

/* --- a resolver that does not answer --- */

static void test_a_resolver_that_hangs_does_not_keep_it(void **state)
{
	struct server_fixture *f = *state;

	assert_int_equal(server_fixture_create(f, "\"workers\": 2, \"shutdown_timeout_ms\": 10, ",
					       "{\"listen\": \"127.0.0.1:0\", \"upstream\": "
					       "\"localhost:9\", "
					       "\"trusted_proxies\": [\"127.0.0.0/8\"]}"),
			 0);
	server_fixture_run(f);
	resolver_fault_hang();
	server_fixture_connect(f, 0, &f->client);
	test_peer_send_text(&f->client,
			    HEADER); /* nobody listens on port 9: the name is looked up again */
	resolver_fault_wait_until_asked();
	server_stop(f->server);
	test_peer_expect_reset(&f->client);
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
		TEST(test_one_worker_serves),
		TEST(test_four_workers_serve),
		TEST(test_there_is_a_worker_for_each_cpu),
		TEST(test_workers_share_a_unix_socket_and_take_it_away),
		TEST(test_a_limit_counts_for_the_whole_process),
		TEST(test_what_would_be_unwise_is_logged),
		TEST(test_the_limit_on_open_files_is_raised),
		TEST(test_a_connection_outlives_the_order_to_stop),
		TEST(test_a_connection_that_takes_too_long_is_reset),
		TEST(test_a_first_signal_drains_and_a_second_one_ends),
		TEST(test_other_signals_do_not_end_it),
		TEST(test_destroying_resets_what_is_open),
		TEST(test_a_stop_before_the_start_is_not_forgotten),
		TEST(test_a_resolver_that_hangs_does_not_keep_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
