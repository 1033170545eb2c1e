/* SPDX-License-Identifier: MIT */
/* The second state of a session: which upstream, by which address, and what if it does not answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_loop.h"
#include "loop/resolver_block.h"
#include "loop/session_fixture.h"
#include "session/transparent.h"

/* No resolver has to be asked to know that this is no name. */
#define BAD_NAME "no..name"

#define BULK 60000

static uint8_t bulk[BULK];

static struct upstream_addresses one_address(struct address a)
{
	return (struct upstream_addresses){ .count = 1, .list[0] = a };
}

static void serve_unix(struct session_fixture *f, const char *keys)
{
	char upstream[80];

	snprintf(upstream, sizeof upstream, "\"%s\"", f->unix_text);
	session_fixture_serve(f, upstream, keys);
}

/* No parser would let it pass. */
static void rename_upstream(struct session_fixture *f, const char *host)
{
	struct listener_config *l = &f->config->listeners[0];

	for (size_t i = 0; i < ARRAY_SIZE(l->upstream); i++) {
		free(l->upstream[i].host);
		l->upstream[i].host = strdup(host);
	}
}

static void expect_refused(struct session_fixture *f, const char *outcome)
{
	session_fixture_expect(f, outcome);
	assert_string_equal(session_fixture_text(f, "level"), "warn");
	assert_string_equal(session_fixture_text(f, "client"), CLIENT);
	assert_int_equal(session_fixture_number(f, "connect_ms"), -1);
	test_peer_expect_reset(&f->client);
	assert_int_equal(f->env.count, 0);
}

/* --- addresses --- */

static void test_the_next_address_is_tried_when_one_refuses(void **state)
{
	struct session_fixture *f = *state;
	unsigned refusing = session_fixture_unused_port(f);
	struct upstream_addresses addresses = { .count = 3 };
	char app[TEST_PEER_NAME_MAX];

	test_peer_name(&f->app, app);
	addresses.list[0] = loopback_address(1, refusing);
	addresses.list[1] = loopback_address(2, refusing);
	addresses.list[2] = loopback_address(1, test_peer_port(&f->app));
	session_fixture_serve_at(f, NULL, "", &addresses);
	session_fixture_start_with(f, HEADER "hello");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "hello");
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "upstream"), app);

	session_fixture_start_with(f, HEADER); /* without a payload, it is an event that tells */
	test_peer_accept(&f->app, &f->upstream);
	session_fixture_finish(f);
}

static void test_when_all_refuse_the_client_is_refused(void **state)
{
	struct session_fixture *f = *state;
	unsigned refusing = session_fixture_unused_port(f);
	struct upstream_addresses addresses = { .count = 2 };

	addresses.list[0] = loopback_address(1, refusing);
	addresses.list[1] = loopback_address(2, refusing);
	session_fixture_serve_at(f, NULL, "", &addresses);
	session_fixture_start_with(f, HEADER);
	expect_refused(f, "upstream_refused");
	assert_string_equal(session_fixture_text(f, "reason"), "connection refused");
	session_fixture_start_with(f, HEADER "hello");
	expect_refused(f, "upstream_refused");
	assert_int_equal(session_fixture_number(f, "bytes_in"), 0);
}

static void test_the_family_of_the_client_picks_the_upstream(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer app6;
	char name[TEST_PEER_NAME_MAX];
	char upstream[256];

	test_peer_listen(&app6, &f->loop, f->unix_text, 4);
	test_peer_name(&f->app, name);
	snprintf(upstream, sizeof upstream, "{\"ipv4\": \"%s\", \"ipv6\": \"%s\"}", name,
		 f->unix_text);
	session_fixture_serve(f, upstream, "");
	session_fixture_relay(f, HEADER);
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "upstream"), name);

	session_fixture_start_with(f, "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n");
	test_peer_accept(&app6, &f->upstream);
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "upstream"), f->unix_text);
	test_peer_close(&app6);
}

/* --- transparent mode, which connects as the client or not at all --- */

static void test_a_client_of_another_family_cannot_be_connected_as(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"transparent\": true");
	session_fixture_start_with(f, "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n");
	session_fixture_expect(f, "family_mismatch");
	test_peer_expect_reset(&f->client);
	session_fixture_expect_no_upstream(f);
}

/* The kernel takes the address, if it may, and replaces it; a broadcast address is on the list for that reason. */
static void test_an_address_that_the_socket_does_not_get_is_refused(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"transparent\": true, \"allow_loopback_clients\": true");
	f->service->transparent->refused_count = 0;
	session_fixture_start_with(f, "PROXY TCP4 127.255.255.255 192.0.2.1 1 2\r\n");
	session_fixture_expect(f, "bind_failed");
	test_peer_expect_reset(&f->client);
}

/* --- unix sockets --- */

static void test_a_missing_unix_socket_refuses(void **state)
{
	struct session_fixture *f = *state;

	serve_unix(f, "");
	session_fixture_start_with(f, HEADER "hello");
	expect_refused(f, "upstream_refused");
	assert_string_equal(session_fixture_text(f, "reason"), "no such file or directory");
	assert_string_equal(session_fixture_text(f, "upstream"), f->unix_text);
}

/* The kernel does not tell when there is room, and the payload must not be lost meanwhile. */
static void test_a_full_backlog_is_waited_out(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;
	struct test_peer accepted;

	session_fixture_mute_app(f, f->unix_text, &first);
	serve_unix(f, "");
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER);
	test_peer_send(&f->client, bulk, sizeof bulk);
	session_fixture_start(f);
	test_peer_shutdown(&f->client);
	test_loop_settle(&f->loop);
	assert_int_equal(session_fixture_session(f)->state, SESSION_CONNECT);
	assert_false(list_is_empty(&f->env.retry.entries));

	test_peer_accept(&f->app, &accepted);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect(&f->upstream, bulk, sizeof bulk);
	test_peer_expect_end(&f->upstream);
	test_peer_shutdown(&f->upstream);
	test_peer_expect_end(&f->client);
	session_fixture_expect(f, "finished");
	assert_int_equal(session_fixture_number(f, "bytes_in"), BULK);
	test_peer_close(&accepted);
	test_peer_close(&first);
}

static void test_a_backlog_that_stays_full_times_out(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;

	session_fixture_mute_app(f, f->unix_text, &first);
	serve_unix(f, "\"connect_timeout_ms\": 30");
	session_fixture_start_with(f, HEADER "hello");
	expect_refused(f, "upstream_timeout");
	assert_string_equal(session_fixture_text(f, "reason"), "the unix socket's backlog is full");
	test_peer_close(&first);
}

/* --- waiting --- */

static void test_an_upstream_that_does_not_answer_times_out(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;

	session_fixture_mute_app(f, "127.0.0.1:0", &first);
	session_fixture_serve(f, NULL, "\"connect_timeout_ms\": 20");
	session_fixture_start_with(f, HEADER "hello");
	assert_int_equal(session_fixture_session(f)->state, SESSION_CONNECT);
	expect_refused(f, "upstream_timeout");
	test_peer_close(&first);
}

static void test_a_client_may_reset_meanwhile(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;

	session_fixture_mute_app(f, "127.0.0.1:0", &first);
	session_fixture_serve(f, NULL, "");
	session_fixture_start_with(f, HEADER "hello");
	test_loop_settle(&f->loop);
	test_peer_reset(&f->client);
	session_fixture_expect(f, "client_reset");
	assert_int_equal(session_fixture_number(f, "connect_ms"), -1);
	test_peer_close(&first);
}

/* The client has sent all it has; that is no reason to give up. */
static void test_a_client_may_end_meanwhile(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;
	struct test_peer accepted;

	session_fixture_mute_app(f, f->unix_text, &first);
	serve_unix(f, "");
	session_fixture_start_with(f, HEADER);
	test_peer_send_text(&f->client, "all there is");
	test_peer_shutdown(&f->client);
	test_loop_settle(&f->loop);
	test_peer_accept(&f->app, &accepted);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "all there is");
	test_peer_expect_end(&f->upstream);
	test_peer_send_text(&f->upstream, "answer");
	test_peer_expect_text(&f->client, "answer");
	test_peer_close(&accepted);
	test_peer_close(&first);
}

/* It had answered and is gone before the session knew of either. */
static void test_an_upstream_that_breaks_meanwhile_is_an_error(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_start_with(f, HEADER);
	assert_int_equal(session_fixture_session(f)->state, SESSION_CONNECT);
	test_peer_reset(&f->app);
	expect_refused(f, "upstream_error");
	assert_string_equal(session_fixture_text(f, "reason"), "connection reset by peer");
}

static void test_without_descriptors_there_is_no_upstream(void **state)
{
	struct session_fixture *f = *state;
	struct rlimit old;
	struct rlimit none;
	int next;

	session_fixture_serve(f, NULL, "");
	session_fixture_open(f);
	next = fcntl(0, F_DUPFD, 0); /* what the upstream would get */
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	test_peer_send_text(&f->client, HEADER "hello");
	test_loop_settle(&f->loop);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	expect_refused(f, "upstream_error");
	assert_string_equal(session_fixture_text(f, "reason"), "too many open files");
}

/* --- names --- */

static void test_a_name_is_resolved_again_when_its_addresses_refuse(void **state)
{
	struct session_fixture *f = *state;
	char app[TEST_PEER_NAME_MAX];

	test_peer_name(&f->app, app);
	session_fixture_serve_stale_name(f, "");
	session_fixture_start_with(f, HEADER "hello");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "hello");
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "upstream"), app);
	session_fixture_start_with(f, HEADER); /* the next one knows */
	assert_false(f->service->upstream[0].resolving);
	test_peer_accept(&f->app, &f->upstream);
	session_fixture_finish(f);
}

#define WAITING 3

static void test_sessions_wait_for_one_answer_together(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer clients[WAITING];
	struct test_peer upstream;

	session_fixture_serve_stale_name(f, "");
	for (unsigned i = 0; i < WAITING; i++) {
		session_fixture_start_with(f, HEADER "hello");
		clients[i] = f->client;
		f->client.fd = -1;
	}
	for (unsigned i = 0; i < WAITING; i++) {
		test_peer_accept(&f->app, &upstream);
		test_peer_expect_text(&upstream, "hello");
		test_peer_close(&upstream);
	}
	for (unsigned i = 0; i < WAITING; i++) {
		test_peer_expect_end(&clients[i]);
		test_peer_close(&clients[i]);
	}
	session_fixture_expect_none(f);
}

static void test_a_name_is_resolved_again_only_once(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve_stale_name(f, "");
	test_peer_close(&f->app); /* nobody listens at the new address either */
	session_fixture_start_with(f, HEADER "hello");
	expect_refused(f, "upstream_refused");
}

static void test_a_name_that_is_gone_refuses(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve_stale_name(f, "");
	rename_upstream(f, BAD_NAME);
	session_fixture_start_with(f, HEADER "hello");
	expect_refused(f, "upstream_refused");
	session_fixture_expect_no_upstream(f);
}

static void test_a_question_that_cannot_be_asked_refuses(void **state)
{
	struct session_fixture *f = *state;
	char name[400];

	memset(name, 'a', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	session_fixture_serve_stale_name(f, "");
	rename_upstream(f, name);
	session_fixture_start_with(f, HEADER "hello");
	expect_refused(f, "upstream_refused");
}

static bool has_answer(void *data)
{
	return !((const struct upstream *)data)->resolving;
}

static void test_a_slow_resolver_is_part_of_the_connect_timeout(void **state)
{
	struct session_fixture *f = *state;

	resolver_block(&f->loop);
	session_fixture_serve_stale_name(f, "\"connect_timeout_ms\": 20");
	session_fixture_start_with(f, HEADER "hello");
	assert_true(session_fixture_session(f)->resolving);
	expect_refused(f, "upstream_timeout");
	resolver_unblock(&f->loop);
	test_loop_until(&f->loop, has_answer, &f->service->upstream[0], "the answer");
}

/* The end of the worker does not wait for a question that nobody has begun to answer. */
static void test_a_question_is_given_up_at_the_end(void **state)
{
	struct session_fixture *f = *state;

	resolver_block(&f->loop);
	session_fixture_serve_stale_name(f, "");
	session_fixture_start_with(f, HEADER "hello");
	session_env_end_sessions(&f->env, OUTCOME_shutdown);
	session_fixture_expect(f, "shutdown");
	upstream_stop(&f->service->upstream[0]);
	test_loop_until(&f->loop, has_answer, &f->service->upstream[0], "the end of the question");
	resolver_unblock(&f->loop);
	test_peer_expect_reset(&f->client);
}

static void test_after_a_timeout_the_next_client_has_fresh_addresses(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer mute;
	struct test_peer first;
	char name[TEST_PEER_NAME_MAX];
	struct upstream_addresses stale;
	char upstream[32];

	test_peer_listen(&mute, &f->loop, "127.0.0.1:0", 0);
	test_peer_name(&mute, name);
	test_peer_connect(&first, &f->loop, name, NULL);
	stale = one_address(loopback_address(1, test_peer_port(&mute)));
	snprintf(upstream, sizeof upstream, "\"localhost:%u\"", test_peer_port(&f->app));
	session_fixture_serve_at(f, upstream, "\"connect_timeout_ms\": 20", &stale);
	session_fixture_start_with(f, HEADER "hello");
	expect_refused(f, "upstream_timeout");
	test_loop_until(&f->loop, has_answer, &f->service->upstream[0], "the answer");
	session_fixture_relay(f, HEADER);
	session_fixture_finish(f);
	test_peer_close(&first);
	test_peer_close(&mute);
}

/* The name was there when the program started. */
static void test_a_timeout_and_no_resolver_comes_with_a_hint(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;
	struct upstream_addresses stale;
	char name[400];

	memset(name, 'a', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	session_fixture_mute_app(f, "127.0.0.1:0", &first);
	stale = one_address(loopback_address(1, test_peer_port(&f->app)));
	session_fixture_serve_at(f, "\"name:80\"", "\"connect_timeout_ms\": 20", &stale);
	rename_upstream(f, name);
	session_fixture_start_with(f, HEADER "hello");
	expect_refused(f, "upstream_timeout");
	assert_non_null(strstr(session_fixture_text(f, "hint"), "resolver"));
	test_peer_close(&first);
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, session_fixture_setup, session_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_the_next_address_is_tried_when_one_refuses),
		TEST(test_when_all_refuse_the_client_is_refused),
		TEST(test_the_family_of_the_client_picks_the_upstream),
		TEST(test_a_client_of_another_family_cannot_be_connected_as),
		TEST(test_an_address_that_the_socket_does_not_get_is_refused),
		TEST(test_a_missing_unix_socket_refuses),
		TEST(test_a_full_backlog_is_waited_out),
		TEST(test_a_backlog_that_stays_full_times_out),
		TEST(test_an_upstream_that_does_not_answer_times_out),
		TEST(test_a_client_may_reset_meanwhile),
		TEST(test_a_client_may_end_meanwhile),
		TEST(test_an_upstream_that_breaks_meanwhile_is_an_error),
		TEST(test_without_descriptors_there_is_no_upstream),
		TEST(test_a_name_is_resolved_again_when_its_addresses_refuse),
		TEST(test_sessions_wait_for_one_answer_together),
		TEST(test_a_name_is_resolved_again_only_once),
		TEST(test_a_name_that_is_gone_refuses),
		TEST(test_a_question_that_cannot_be_asked_refuses),
		TEST(test_a_slow_resolver_is_part_of_the_connect_timeout),
		TEST(test_a_question_is_given_up_at_the_end),
		TEST(test_after_a_timeout_the_next_client_has_fresh_addresses),
		TEST(test_a_timeout_and_no_resolver_comes_with_a_hint),
	};

	for (size_t i = 0; i < sizeof bulk; i++)
		bulk[i] = (uint8_t)(i * 31 >> 3);
	signal(SIGPIPE, SIG_IGN); /* as the server does */
	resolver_block_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
