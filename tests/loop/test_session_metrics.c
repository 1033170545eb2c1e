/* SPDX-License-Identifier: MIT */
/* What sessions count of themselves. That each ends in one way, and is counted so, is checked by session_fixture_expect()
 * and the fixture's end in every test of a session. */
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
#include "loop/epoll_fault.h"
#include "loop/send_fault.h"
#include "loop/session_fixture.h"

#define BULK ((size_t)4 * 1024 * 1024)

static uint8_t bulk[BULK];

static uint64_t observed(const struct histogram *h)
{
	uint64_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(h->buckets); i++)
		count += counter_read(&h->buckets[i]);
	return count;
}

static void expect_active(const struct session_fixture *f, unsigned header, unsigned connect,
			  unsigned relay)
{
	assert_int_equal(counter_read(&f->metrics->active[SESSION_HEADER]), header);
	assert_int_equal(counter_read(&f->metrics->active[SESSION_CONNECT]), connect);
	assert_int_equal(counter_read(&f->metrics->active[SESSION_RELAY]), relay);
}

/* The metrics are those of the only session there was, whose line was read last. */
static void expect_bytes_as_logged(const struct session_fixture *f)
{
	assert_int_equal(counter_read(&f->metrics->bytes_in),
			 session_fixture_number(f, "bytes_in"));
	assert_int_equal(counter_read(&f->metrics->bytes_out),
			 session_fixture_number(f, "bytes_out"));
}

/* --- states --- */

static void test_a_session_is_active_in_one_state(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;
	struct test_peer accepted;
	char upstream[80];

	session_fixture_mute_app(f, f->unix_text, &first);
	snprintf(upstream, sizeof upstream, "\"%s\"", f->unix_text);
	session_fixture_serve(f, upstream, "");
	expect_active(f, 0, 0, 0);
	session_fixture_open(f);
	expect_active(f, 1, 0, 0);
	test_peer_send_text(&f->client, HEADER);
	test_loop_settle(&f->loop);
	expect_active(f, 0, 1, 0);
	test_peer_accept(&f->app, &accepted);
	test_peer_accept(&f->app, &f->upstream);
	expect_active(f, 0, 0, 1);
	session_fixture_finish(f);
	expect_active(f, 0, 0, 0);
	test_peer_close(&accepted);
	test_peer_close(&first);
}

static void test_a_refused_session_was_accepted_as_well(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_start_with(f, "GET / HTTP/1.1\r\n\r\n");
	session_fixture_expect(f, "header_missing");
	assert_int_equal(counter_read(&f->metrics->accepted), 1);
	assert_int_equal(counter_read(&f->metrics->ended[OUTCOME_header_missing]), 1);
	expect_active(f, 0, 0, 0);
}

static void test_a_session_for_which_there_is_no_memory_was_not_accepted(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	fault_arm(0);
	assert_int_not_equal(session_fixture_try_start(f), 0);
	assert_true(fault_disarm());
	assert_int_equal(counter_read(&f->metrics->accepted), 0);
}

/* --- bytes --- */

static void test_bytes_of_both_directions_are_counted_once(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER "hello");
	assert_int_equal(counter_read(&f->metrics->bytes_in), 5);
	test_peer_expect_text(&f->upstream, "hello");
	test_peer_send_text(&f->upstream, "good morning");
	test_peer_expect_text(&f->client, "good morning");
	assert_int_equal(counter_read(&f->metrics->bytes_out), 12);
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
	assert_int_equal(session_fixture_number(f, "bytes_out"), 12);
	expect_bytes_as_logged(f);
}

/* Through pipes, too, and more than the other side takes at once. */
static void test_bulk_is_counted_while_it_flows(void **state)
{
	struct session_fixture *f = *state;
	static uint8_t got[64 * 1024];
	size_t sent = 0;
	size_t received = 0;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	while (received < BULK) {
		size_t n;

		sent += test_peer_send_some(&f->client, bulk + sent, BULK - sent);
		test_loop_settle(&f->loop);
		assert_in_range(counter_read(&f->metrics->bytes_in), received, sent);
		n = test_peer_receive_some(&f->upstream, got, sizeof got);
		assert_memory_equal(got, bulk + received, n);
		received += n;
	}
	assert_int_equal(counter_read(&f->metrics->bytes_in), BULK);
	session_fixture_finish(f);
	expect_bytes_as_logged(f);
}

static void test_a_payload_that_has_to_wait_is_counted_when_it_goes(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;
	struct test_peer accepted;
	char upstream[80];

	session_fixture_mute_app(f, f->unix_text, &first);
	snprintf(upstream, sizeof upstream, "\"%s\"", f->unix_text);
	session_fixture_serve(f, upstream, "");
	session_fixture_start_with(f, HEADER "hello");
	test_loop_settle(&f->loop);
	assert_int_equal(counter_read(&f->metrics->bytes_in), 0);
	test_peer_accept(&f->app, &accepted);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "hello");
	assert_int_equal(counter_read(&f->metrics->bytes_in), 5);
	session_fixture_finish(f);
	expect_bytes_as_logged(f);
	test_peer_close(&accepted);
	test_peer_close(&first);
}

static void test_a_payload_that_is_sent_in_two_pieces_is_counted_once(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER "hello");
	send_fault_allow(2);
	session_fixture_start(f);
	send_fault_allow(-1);
	assert_int_equal(counter_read(&f->metrics->bytes_in), 2);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "hello");
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
	expect_bytes_as_logged(f);
}

/* What an application refused with an answer and a reset: that answer is drained. */
static void test_what_is_drained_at_the_end_is_counted(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER "hello");
	test_peer_send_text(&f->upstream, "no, thanks");
	test_peer_reset(&f->upstream);
	test_peer_send_text(&f->client, "more");
	session_fixture_expect(f, "upstream_reset");
	expect_bytes_as_logged(f);
}

/* --- what was sent to an upstream that is given up --- */

static void test_bytes_to_an_upstream_that_cannot_be_watched_are_counted(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER "hello");
	epoll_fault_allow(0);
	session_fixture_start(f);
	epoll_fault_allow(-1);
	session_fixture_expect(f, "upstream_error");
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
	expect_bytes_as_logged(f);
}

/* The rest cannot be held: another address must not get the whole once more. */
static void test_a_payload_of_which_some_was_sent_is_not_sent_elsewhere(void **state)
{
	struct session_fixture *f = *state;
	struct upstream_addresses twice = { .count = 2 };

	twice.list[0] = loopback_address(1, test_peer_port(&f->app));
	twice.list[1] = twice.list[0];
	session_fixture_serve_at(f, NULL, "", &twice);
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER "hello");
	send_fault_allow(2);
	fault_arm(1); /* the session comes first */
	session_fixture_start(f);
	assert_true(fault_disarm());
	send_fault_allow(-1);
	session_fixture_expect(f, "upstream_error");
	assert_string_equal(session_fixture_text(f, "reason"), "not enough memory");
	assert_int_equal(session_fixture_number(f, "bytes_in"), 2);
	expect_bytes_as_logged(f);
	test_peer_expect_reset(&f->client);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "he");
	test_peer_expect_reset(&f->upstream);
	session_fixture_expect_no_upstream(f);
}

/* --- headers, times --- */

static void test_headers_are_counted_by_version_and_command(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		uint8_t version;
		enum proxy_command command;
	} cases[] = {
#define CASE(bytes, version, command) { bytes, sizeof(bytes) - 1, version, PROXY_COMMAND_##command }
		CASE(HEADER, 1, PROXY),
		CASE("PROXY UNKNOWN\r\n", 1, UNKNOWN),
		CASE(V2 "\x21\x11\0\x0c" IP4, 2, PROXY),
		CASE(V2 "\x20\0\0\0", 2, LOCAL),
		CASE("hello", 0, NONE),
	};
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"header\": \"optional\"");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct counter *c = &f->metrics->headers[cases[i].version][cases[i].command];

		session_fixture_connect(f);
		test_peer_send(&f->client, cases[i].bytes, cases[i].size);
		assert_int_equal(counter_read(c), 0);
		session_fixture_start(f);
		assert_int_equal(counter_read(c), 1);
		test_peer_accept(&f->app, &f->upstream);
		if (cases[i].version == 0)
			test_peer_expect(&f->upstream, cases[i].bytes, cases[i].size);
		session_fixture_finish(f);
		assert_int_equal(observed(&f->metrics->header), i + 1);
	}
}

static void test_a_header_that_is_none_is_no_header(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_start_with(f, "PROXY TCP5 ");
	session_fixture_expect(f, "header_malformed");
	for (unsigned v = 0; v < METRICS_VERSIONS; v++)
		for (unsigned c = 0; c < METRICS_COMMANDS; c++)
			assert_int_equal(counter_read(&f->metrics->headers[v][c]), 0);
	assert_int_equal(observed(&f->metrics->header), 0);
}

static void test_the_last_answer_of_the_upstream_is_noted(void **state)
{
	struct session_fixture *f = *state;
	uint64_t before = uv_hrtime();

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	assert_in_range(counter_read(&f->metrics->upstream_answer_ns), before, uv_hrtime());
	assert_int_equal(observed(&f->metrics->connect), 1);
	session_fixture_finish(f);
}

static void test_an_upstream_that_refuses_has_not_answered(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	test_peer_close(&f->app);
	session_fixture_start_with(f, HEADER "hello");
	session_fixture_expect(f, "upstream_refused");
	assert_int_equal(counter_read(&f->metrics->upstream_answer_ns), 0);
	assert_int_equal(observed(&f->metrics->connect), 0);
	assert_int_equal(observed(&f->metrics->header), 1);
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, session_fixture_setup, session_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_a_session_is_active_in_one_state),
		TEST(test_a_refused_session_was_accepted_as_well),
		TEST(test_a_session_for_which_there_is_no_memory_was_not_accepted),
		TEST(test_bytes_of_both_directions_are_counted_once),
		TEST(test_bulk_is_counted_while_it_flows),
		TEST(test_a_payload_that_has_to_wait_is_counted_when_it_goes),
		TEST(test_a_payload_that_is_sent_in_two_pieces_is_counted_once),
		TEST(test_what_is_drained_at_the_end_is_counted),
		TEST(test_bytes_to_an_upstream_that_cannot_be_watched_are_counted),
		TEST(test_a_payload_of_which_some_was_sent_is_not_sent_elsewhere),
		TEST(test_headers_are_counted_by_version_and_command),
		TEST(test_a_header_that_is_none_is_no_header),
		TEST(test_the_last_answer_of_the_upstream_is_noted),
		TEST(test_an_upstream_that_refuses_has_not_answered),
	};

	for (size_t i = 0; i < sizeof bulk; i++)
		bulk[i] = (uint8_t)(i * 31 >> 5);
	signal(SIGPIPE, SIG_IGN); /* as the server does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
