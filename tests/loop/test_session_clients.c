/* SPDX-License-Identifier: MIT */
/* Which effective clients a session is for, how many of them, and how often. The lists and the table have tests of their
 * own in tests/unit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/header_vectors.h"
#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/session_fixture.h"
#include "session/client_table.h"

#define OTHER          "PROXY TCP4 203.0.113.8 192.0.2.1 4711 443\r\n"
#define SIX            "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"
#define SIX_NEAR       "PROXY TCP6 2001:db8::ffff:0:0:8 2001:db8::1 4711 443\r\n"
#define SIX_FAR        "PROXY TCP6 2001:db8:0:1::7 2001:db8::1 4711 443\r\n"
#define ENDPOINT       "\xea\0\x17\x01vpce-08d2bf15fac5001c9"
#define OF_AN_ENDPOINT V2 "\x21\x11\0\x26" IP4 ENDPOINT

/* Not in the fixture's trusted_proxies. */
#define STRANGER "127.1.0.1:0"

/* Open at once, at most. */
#define CROWD 4

static struct test_peer crowd[CROWD];

/* What uv_hrtime() says in our objects; 0: the truth. */
static uint64_t clock_ns;

uint64_t __real_uv_hrtime(void);
uint64_t __wrap_uv_hrtime(void);

uint64_t __wrap_uv_hrtime(void)
{
	return clock_ns != 0 ? clock_ns : __real_uv_hrtime();
}

/* Begin a session that stays open as crowd[@i], whose header is @text. */
static void join(struct session_fixture *f, unsigned i, const char *text)
{
	unsigned before = f->env.count;

	session_fixture_start_with(f, text);
	assert_int_equal(f->env.count, before + 1);
	crowd[i] = f->client;
	f->client.fd = -1;
}

/* End it, in one of many ways. */
static void leave(struct session_fixture *f, unsigned i)
{
	test_loop_settle(&f->loop);
	test_peer_reset(&crowd[i]);
	session_fixture_expect(f, "client_reset");
}

static void expect_refused(struct session_fixture *f, const char *outcome)
{
	session_fixture_expect(f, outcome);
	assert_string_equal(session_fixture_text(f, "level"), "warn");
	test_peer_expect_reset(&f->client);
	test_peer_close(&f->client);
}

static void refuse(struct session_fixture *f, const char *text, const char *outcome)
{
	session_fixture_start_with(f, text);
	expect_refused(f, outcome);
}

static void serve_unix(struct session_fixture *f, const char *keys)
{
	test_peer_close(&f->listening);
	test_peer_listen(&f->listening, &f->loop, f->unix_text, 4);
	session_fixture_serve(f, NULL, keys);
	f->config->listeners[0].trust_unix = true;
}

/* --- who --- */

static void test_clients_that_are_denied_do_not_reach_the_upstream(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"clients\": {\"deny\": [\"203.0.113.7\"]}");
	refuse(f, HEADER "hello", "client_denied");
	assert_string_equal(session_fixture_text(f, "reason"), "the client is in clients.deny");
	assert_string_equal(session_fixture_text(f, "client"), CLIENT);
	session_fixture_expect_no_upstream(f);
	session_fixture_relay(f, OTHER);
	session_fixture_finish(f);
}

/* Without a header, and with one that names no client, it is the peer who is asked for. */
static void test_the_peer_is_denied_where_it_is_the_client(void **state)
{
	static const char *const headers[] = { "no header", "PROXY UNKNOWN\r\n" };
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL,
			      "\"clients\": {\"deny\": [\"127.0.0.0/8\"]}, \"header\": "
			      "\"optional\", \"untrusted\": \"pass\"");
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		refuse(f, headers[i], "client_denied");
	session_fixture_connect(f);
	test_peer_send(&f->client, V2 "\x20\0\0\0", 16);
	session_fixture_start(f);
	expect_refused(f, "client_denied");
	session_fixture_connect_from(f, STRANGER);
	session_fixture_start(f);
	expect_refused(f, "client_denied");
	session_fixture_expect_no_upstream(f);
	session_fixture_relay(f, HEADER);
	session_fixture_finish(f);
}

/* An allow list without the load balancer ends in an outage. */
static void test_a_health_check_that_is_denied_is_told_of(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"clients\": {\"allow\": [\"203.0.113.7\"]}");
	session_fixture_connect(f);
	test_peer_send(&f->client, V2 "\x20\0\0\0", 16);
	session_fixture_start(f);
	expect_refused(f, "client_denied");
	assert_non_null(strstr(session_fixture_text(f, "hint"), "health check"));
	refuse(f, OTHER, "client_denied");
	assert_string_equal(session_fixture_text(f, "hint"), "");
}

static void test_the_endpoint_of_a_header_is_asked_for(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL,
			      "\"clients\": {\"vpc_endpoints\": [\"vpce-08d2bf15fac5001c9\"]}");
	refuse(f, HEADER, "client_denied");
	assert_non_null(strstr(session_fixture_text(f, "hint"), "PrivateLink"));
	session_fixture_connect(f);
	test_peer_send(&f->client, OF_AN_ENDPOINT, sizeof(OF_AN_ENDPOINT) - 1);
	session_fixture_start(f);
	test_peer_accept(&f->app, &f->upstream);
	session_fixture_finish(f);
}

static void test_an_address_of_nobody_is_refused_before_lists_are_asked(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"clients\": {\"deny\": [\"127.0.0.0/8\"]}");
	refuse(f, "PROXY TCP4 127.0.0.1 192.0.2.1 1 2\r\n", "client_address");
}

/* --- how many --- */

static void test_a_client_may_have_so_many_connections(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"max_connections_per_client\": 2");
	join(f, 0, HEADER);
	join(f, 1, HEADER "hello");
	refuse(f, HEADER, "client_limit");
	assert_string_equal(session_fixture_text(f, "reason"),
			    "too many connections of this client are open");
	assert_non_null(strstr(session_fixture_text(f, "hint"), "max_connections_per_client"));
	join(f, 2, OTHER);
	leave(f, 0);
	join(f, 0, HEADER);
	refuse(f, HEADER, "client_limit");
	for (unsigned i = 0; i < 3; i++)
		leave(f, i);
}

static void test_a_client_of_ipv6_is_a_network(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"max_connections_per_client\": 1");
	join(f, 0, SIX);
	refuse(f, SIX_NEAR, "client_limit");
	join(f, 1, SIX_FAR);
	leave(f, 0);
	leave(f, 1);
}

/* However it ended. */
static void test_a_connection_that_has_ended_makes_room(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"max_connections_per_client\": 1");
	session_fixture_relay(f, HEADER);
	session_fixture_finish(f);
	join(f, 0, HEADER);
	session_env_end_sessions(&f->env, OUTCOME_shutdown);
	session_fixture_expect(f, "shutdown");
	test_peer_close(&crowd[0]);
	test_peer_close(&f->app);
	for (unsigned i = 0; i < 3; i++)
		refuse(f, HEADER "hello", "upstream_refused");
}

/* Refused for another reason, a connection counts for nothing, and neither does one whose header has not come. */
static void test_only_connections_for_the_upstream_count(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL,
			      "\"max_connections_per_client\": 1, \"header\": \"optional\", "
			      "\"clients\": {\"deny\": [\"203.0.113.8\"]}");
	refuse(f, OTHER, "client_denied");
	join(f, 0, "PROXY TCP4 ");
	assert_int_equal(client_table_count(f->shared->clients), 0);
	join(f, 1, HEADER);
	assert_int_equal(client_table_count(f->shared->clients), 1);
	join(f, 2, "no header, so the peer counts");
	assert_int_equal(client_table_count(f->shared->clients), 2);
	refuse(f, "PROXY UNKNOWN\r\n", "client_limit");
	leave(f, 2);
	leave(f, 1);
	test_peer_reset(&crowd[0]);
	session_fixture_expect(f, "closed_in_header");
}

static void test_a_peer_without_an_address_has_no_limit(void **state)
{
	struct session_fixture *f = *state;

	serve_unix(f, "\"max_connections_per_client\": 1");
	join(f, 0, "PROXY UNKNOWN\r\n");
	join(f, 1, "PROXY UNKNOWN\r\n");
	assert_int_equal(counter_read(&f->metrics->clients_untracked), 0);
	session_env_end_sessions(&f->env, OUTCOME_shutdown);
	for (unsigned i = 0; i < 2; i++)
		test_peer_close(&crowd[i]);
}

static void test_a_client_too_many_to_remember_is_let_in_and_counted_as_such(void **state)
{
	struct session_fixture *f = *state;

	f->shared->clients = client_table_create(1);
	session_fixture_serve(f, NULL, "\"max_connections_per_client\": 1");
	join(f, 0, HEADER);
	join(f, 1, OTHER);
	join(f, 2, OTHER);
	assert_int_equal(counter_read(&f->metrics->clients_untracked), 2);
	refuse(f, HEADER, "client_limit");
	leave(f, 1);
	leave(f, 0);
	join(f, 0, OTHER);
	refuse(f, OTHER, "client_limit");
	leave(f, 2);
	leave(f, 0);
	assert_int_equal(counter_read(&f->metrics->clients_untracked), 2);
}

/* --- how often --- */

static void test_a_client_may_connect_so_often(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL,
			      "\"connection_rate_per_client\": {\"per_second\": 1, \"burst\": 2}");
	test_peer_close(&f->app); /* an attempt is enough */
	clock_ns = uv_hrtime();
	refuse(f, HEADER, "upstream_refused");
	refuse(f, HEADER, "upstream_refused");
	refuse(f, HEADER, "client_limit");
	assert_string_equal(session_fixture_text(f, "reason"), "this client connects too often");
	assert_non_null(strstr(session_fixture_text(f, "hint"), "connection_rate_per_client"));
	refuse(f, OTHER, "upstream_refused");
	clock_ns += UINT64_C(1000000000);
	refuse(f, HEADER, "upstream_refused");
	refuse(f, HEADER, "client_limit");
	clock_ns = 0;
}

/* --- reloads --- */

static void test_a_reload_changes_limits_and_keeps_what_was_counted(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"max_connections_per_client\": 3");
	join(f, 0, HEADER);
	join(f, 1, HEADER);
	session_fixture_serve(f, NULL, "\"max_connections_per_client\": 2");
	refuse(f, HEADER, "client_limit");
	leave(f, 0);
	join(f, 0, HEADER);
	session_fixture_serve(f, NULL, "");
	assert_null(f->service->clients);
	join(f, 2, HEADER);
	session_fixture_serve(f, NULL, "\"max_connections_per_client\": 2");
	refuse(f, HEADER, "client_limit"); /* for 0 and 1; nobody counted 2 */
	leave(f, 2);
	refuse(f, HEADER, "client_limit");
	leave(f, 1);
	join(f, 1, HEADER);
	leave(f, 0);
	leave(f, 1);
}

static void test_clients_are_remembered_once_they_have_a_limit(void **state)
{
	struct session_fixture *f = *state;
	const struct client_table *clients;

	session_fixture_serve(f, NULL, "");
	assert_null(f->shared->clients);
	session_fixture_load(f, NULL, "\"max_connections_per_client\": 1");
	fault_arm(0);
	assert_int_not_equal(service_shared_track_clients(f->shared, &f->config->listeners[0]), 0);
	assert_true(fault_disarm());
	assert_null(f->shared->clients);
	session_fixture_serve(f, NULL, "\"connection_rate_per_client\": {\"per_second\": 9}");
	clients = f->shared->clients;
	assert_non_null(clients);
	session_fixture_serve(f, NULL, "");
	assert_ptr_equal(f->shared->clients, clients);
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, session_fixture_setup, session_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_clients_that_are_denied_do_not_reach_the_upstream),
		TEST(test_the_peer_is_denied_where_it_is_the_client),
		TEST(test_a_health_check_that_is_denied_is_told_of),
		TEST(test_the_endpoint_of_a_header_is_asked_for),
		TEST(test_an_address_of_nobody_is_refused_before_lists_are_asked),
		TEST(test_a_client_may_have_so_many_connections),
		TEST(test_a_client_of_ipv6_is_a_network),
		TEST(test_a_connection_that_has_ended_makes_room),
		TEST(test_only_connections_for_the_upstream_count),
		TEST(test_a_peer_without_an_address_has_no_limit),
		TEST(test_a_client_too_many_to_remember_is_let_in_and_counted_as_such),
		TEST(test_a_client_may_connect_so_often),
		TEST(test_a_reload_changes_limits_and_keeps_what_was_counted),
		TEST(test_clients_are_remembered_once_they_have_a_limit),
	};

	signal(SIGPIPE, SIG_IGN); /* as the server does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
