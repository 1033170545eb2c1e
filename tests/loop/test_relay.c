/* SPDX-License-Identifier: MIT */
/* Each case runs on every kind of socket and with every way of moving bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/relay_fixture.h"

#define STREAM_SIZE (4 * 1024 * 1024)

/* What a pump may move in one go; relay.c has the reasons. */
#define TURN_BYTES (16 * RELAY_CHUNK)

/* Held or piped, never both, and never more than there may be. Returns the bytes. */
static size_t in_flight(const struct relay_fixture *f, enum relay_end end)
{
	const struct relay_flow *flow = &f->relay.flow[end];

	assert_true(flow->held == NULL || flow->piped == 0);
	assert_true(flow->held == NULL || flow->held_size <= RELAY_CHUNK);
	assert_true(flow->piped <= RELAY_PIPE_SIZE);
	return flow->held != NULL ? flow->held_size : flow->piped;
}

/* --- the stream and its ends --- */

static void test_bytes_go_both_ways(void **state)
{
	struct relay_fixture *f = *state;

	test_peer_send_text(&f->client, "ping");
	test_peer_expect_text(&f->upstream, "ping");
	test_peer_send_text(&f->upstream, "answer");
	test_peer_expect_text(&f->client, "answer");
	test_peer_send_text(&f->client, "once more");
	test_peer_expect_text(&f->upstream, "once more");
	assert_int_equal(f->relay.flow[RELAY_CLIENT].bytes, strlen("pingonce more"));
	assert_int_equal(f->relay.flow[RELAY_UPSTREAM].bytes, strlen("answer"));
	assert_int_equal(f->status, RELAY_WAIT);
}

static void test_the_client_may_end_first(void **state)
{
	struct relay_fixture *f = *state;

	test_peer_send_text(&f->client, "request");
	test_peer_shutdown(&f->client);
	test_peer_expect_text(&f->upstream, "request");
	test_peer_expect_end(&f->upstream);
	assert_int_equal(f->status, RELAY_WAIT);
	test_peer_send_text(&f->upstream, "answer");
	test_peer_expect_text(&f->client, "answer");
	test_peer_shutdown(&f->upstream);
	test_peer_expect_end(&f->client);
	relay_fixture_expect(f, RELAY_FINISHED);
}

static void test_the_upstream_may_end_first(void **state)
{
	struct relay_fixture *f = *state;

	test_peer_shutdown(&f->upstream);
	test_peer_expect_end(&f->client);
	assert_int_equal(f->status, RELAY_WAIT);
	test_peer_send_text(&f->client, "late");
	test_peer_expect_text(&f->upstream, "late");
	test_peer_shutdown(&f->client);
	test_peer_expect_end(&f->upstream);
	relay_fixture_expect(f, RELAY_FINISHED);
}

static void test_both_may_end_at_the_same_time(void **state)
{
	struct relay_fixture *f = *state;

	test_peer_send_text(&f->client, "last words");
	test_peer_shutdown(&f->client);
	test_peer_send_text(&f->upstream, "good bye");
	test_peer_shutdown(&f->upstream);
	relay_fixture_expect(f, RELAY_FINISHED);
	test_peer_expect_text(&f->client, "good bye");
	test_peer_expect_end(&f->client);
	test_peer_expect_text(&f->upstream, "last words");
	test_peer_expect_end(&f->upstream);
}

/* The kernel reports the two together and only once: a short read must not be taken for the last word. */
static void test_an_end_that_came_with_data_is_seen(void **state)
{
	struct relay_fixture *f = *state;

	for (unsigned i = 0; i < 20; i++) /* pieces, for those that read by the piece */
		test_peer_send_text(&f->client, "x");
	test_peer_shutdown(&f->client);
	test_loop_settle(&f->loop);
	assert_true(f->relay.side[RELAY_CLIENT].hung_up);
	assert_true(f->relay.flow[RELAY_CLIENT].passed_on);
	test_peer_expect_text(&f->upstream, "xxxxxxxxxxxxxxxxxxxx");
	test_peer_expect_end(&f->upstream);
}

/* An event that came while there was no upstream is not reported again. */
static void test_what_was_noted_before_the_first_pump_is_moved(void **state)
{
	struct relay_fixture *f = *state;

	f->only_note = true;
	test_peer_send_text(&f->client, "early");
	test_peer_shutdown(&f->client);
	test_loop_settle(&f->loop);
	assert_int_equal(f->relay.flow[RELAY_CLIENT].bytes, 0);
	f->only_note = false;
	relay_fixture_pump(f);
	test_peer_expect_text(&f->upstream, "early");
	test_peer_expect_end(&f->upstream);
}

/* A client that is gone in order may still be answered; it does not want that, and says so. */
static void test_a_closed_client_ends_the_upstream(void **state)
{
	struct relay_fixture *f = *state;

	test_peer_close(&f->client);
	test_peer_expect_end(&f->upstream);
	assert_int_equal(f->status, RELAY_WAIT);
	test_peer_send_text(&f->upstream, "nobody listens");
	test_loop_settle(&f->loop);
	if (f->status == RELAY_WAIT)
		test_peer_send_text(&f->upstream, "nobody listens");
	relay_fixture_expect(f, RELAY_CLIENT_RESET);
}

/* --- back-pressure --- */

static void test_a_stalled_reader_holds_back_its_sender_alone(void **state)
{
	struct relay_fixture *f = *state;
	size_t sent = relay_fixture_send_until_stalled(f, &f->client);

	assert_in_range(in_flight(f, RELAY_CLIENT), 1, RELAY_PIPE_SIZE);
	assert_int_equal(in_flight(f, RELAY_UPSTREAM), 0);
	assert_int_equal(f->status, RELAY_WAIT);
	test_peer_send_text(&f->upstream, "the other way is free");
	test_peer_expect_text(&f->client, "the other way is free");

	relay_fixture_expect_stream(&f->upstream, sent, 0);
	assert_int_equal(in_flight(f, RELAY_CLIENT), 0);
	assert_int_equal(f->relay.flow[RELAY_CLIENT].bytes, sent);
	test_peer_send_text(&f->client, "and on");
	test_peer_expect_text(&f->upstream, "and on");
}

static void test_both_ways_may_be_stalled(void **state)
{
	struct relay_fixture *f = *state;
	size_t in = relay_fixture_send_until_stalled(f, &f->client);
	size_t out = relay_fixture_send_until_stalled(f, &f->upstream);

	assert_in_range(in_flight(f, RELAY_CLIENT), 1, RELAY_PIPE_SIZE);
	assert_in_range(in_flight(f, RELAY_UPSTREAM), 1, RELAY_PIPE_SIZE);
	relay_fixture_expect_stream(&f->client, out, 0);
	relay_fixture_expect_stream(&f->upstream, in, 0);
}

static void test_an_end_waits_for_what_is_before_it(void **state)
{
	struct relay_fixture *f = *state;
	size_t sent = relay_fixture_send_until_stalled(f, &f->client);

	test_peer_shutdown(&f->client);
	test_peer_shutdown(&f->upstream);
	test_peer_expect_end(&f->client); /* this way nothing is in flight */
	assert_int_equal(f->status, RELAY_WAIT);
	relay_fixture_expect_stream(&f->upstream, sent, 0);
	test_peer_expect_end(&f->upstream);
	relay_fixture_expect(f, RELAY_FINISHED);
}

/* --- resets --- */

static void test_a_reset_by_the_client_is_told(void **state)
{
	struct relay_fixture *f = *state;

	relay_fixture_reset(f, RELAY_CLIENT);
	relay_fixture_expect(f, RELAY_CLIENT_RESET);
}

static void test_a_reset_by_the_upstream_is_told(void **state)
{
	struct relay_fixture *f = *state;

	relay_fixture_reset(f, RELAY_UPSTREAM);
	relay_fixture_expect(f, RELAY_UPSTREAM_RESET);
}

static void test_a_reset_after_an_orderly_end_is_told(void **state)
{
	struct relay_fixture *f = *state;

	test_peer_shutdown(&f->client);
	test_peer_expect_end(&f->upstream);
	relay_fixture_reset(f, RELAY_CLIENT);
	relay_fixture_expect(f, RELAY_CLIENT_RESET);
}

/* Nothing is read from a sender that is held back, so no read would tell. */
static void test_a_reset_by_a_sender_that_is_held_back_is_told(void **state)
{
	struct relay_fixture *f = *state;

	relay_fixture_send_until_stalled(f, &f->client);
	relay_fixture_reset(f, RELAY_CLIENT);
	relay_fixture_expect(f, RELAY_CLIENT_RESET);
}

static void test_a_reset_by_a_stalled_reader_is_told(void **state)
{
	struct relay_fixture *f = *state;

	relay_fixture_send_until_stalled(f, &f->client);
	test_peer_reset(&f->upstream);
	relay_fixture_expect(f, RELAY_UPSTREAM_RESET);
}

static void test_data_before_a_reset_is_delivered(void **state)
{
	struct relay_fixture *f = *state;
	uint8_t bytes[10000];

	if (!f->variant->tcp) { /* an unread byte makes the reset */
		test_peer_send_text(&f->upstream, "!");
		test_loop_settle(&f->loop);
	}
	stream_fill(bytes, sizeof bytes, 0);
	test_peer_send(&f->client, bytes, sizeof bytes);
	test_peer_reset(&f->client);
	relay_fixture_expect(f, RELAY_CLIENT_RESET);
	relay_fixture_expect_stream(&f->upstream, sizeof bytes, 0);
}

/* An application may refuse the rest of a request: it answers and closes with bytes unread. The write
 * finds out first. */
static void test_an_answer_before_a_reset_is_delivered(void **state)
{
	struct relay_fixture *f = *state;

	test_peer_send_text(&f->client, "request");
	test_loop_settle(&f->loop);
	f->only_note = true; /* what follows comes in one round, the client's event first */
	test_peer_send_text(&f->client, "more of it");
	test_peer_send_text(&f->upstream, "refused");
	test_peer_close(&f->upstream);
	f->only_note = false;
	relay_fixture_expect(f, RELAY_UPSTREAM_RESET);
	test_peer_expect_text(&f->client, "refused");
}

/* --- volume --- */

struct random {
	uint64_t state;
};

static size_t random_below(struct random *r, size_t limit)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state % limit;
}

/* Small, large, or anything. */
static size_t random_size(struct random *r)
{
	static const size_t limits[] = { 16, 1500, 16384, 262144 };

	return 1 + random_below(r, limits[random_below(r, ARRAY_SIZE(limits))]);
}

/* One direction of a test: what was sent and received so far. */
struct stream {
	const struct test_peer *from;
	const struct test_peer *to;
	size_t sent;
	size_t received;
	bool ended;
};

static void stream_step(struct stream *s, struct random *r)
{
	static uint8_t sent[262144];
	static uint8_t received[262144];
	size_t size = random_size(r);
	size_t n;

	if (s->sent < STREAM_SIZE) {
		if (size > STREAM_SIZE - s->sent)
			size = STREAM_SIZE - s->sent;
		stream_fill(sent, size, s->sent);
		s->sent += test_peer_send_some(s->from, sent, size);
	} else if (!s->ended) {
		test_peer_shutdown(s->from);
		s->ended = true;
	}
	if (random_below(r, 4) == 0 || s->received == STREAM_SIZE)
		return; /* a pause; and the end is looked at afterwards */
	n = test_peer_receive_some(s->to, received, random_size(r));
	stream_fill(sent, n, s->received);
	assert_memory_equal(received, sent, n);
	s->received += n;
}

static void test_streams_of_random_pieces_arrive_whole(void **state)
{
	struct relay_fixture *f = *state;
	struct random r = { 20260427 };
	struct stream in = { .from = &f->client, .to = &f->upstream };
	struct stream out = { .from = &f->upstream, .to = &f->client };

	while (in.received < STREAM_SIZE || out.received < STREAM_SIZE) {
		stream_step(&in, &r);
		stream_step(&out, &r);
		poller_turn(&f->poller, false);
		in_flight(f, RELAY_CLIENT); /* it checks the bounds */
		in_flight(f, RELAY_UPSTREAM);
	}
	stream_step(&in, &r); /* the ends, should they be missing */
	stream_step(&out, &r);
	test_peer_expect_end(&f->upstream);
	test_peer_expect_end(&f->client);
	relay_fixture_expect(f, RELAY_FINISHED);
	assert_int_equal(f->relay.flow[RELAY_CLIENT].bytes, STREAM_SIZE);
	assert_int_equal(f->relay.flow[RELAY_UPSTREAM].bytes, STREAM_SIZE);
}

/* A sender that is faster than we are must not keep other sessions, or its own other direction, from
 * their turn. */
static void test_a_pump_ends_after_its_turn(void **state)
{
	struct relay_fixture *f = *state;
	size_t sent;

	if (!relay_fixture_widen(f, 8 * (int)TURN_BYTES))
		skip();
	f->only_note = true;
	sent = relay_fixture_send_until_stalled(f, &f->client);
	assert_true(sent > 2 * TURN_BYTES);
	test_peer_send_text(&f->upstream, "me too");
	test_loop_settle(&f->loop);
	f->only_note = false;
	relay_fixture_pump(f);
	assert_int_equal(f->status, RELAY_MORE);
	assert_in_range(f->relay.flow[RELAY_CLIENT].bytes, 1, TURN_BYTES + RELAY_PIPE_SIZE);
	assert_int_equal(f->relay.flow[RELAY_UPSTREAM].bytes, strlen("me too"));
	relay_fixture_expect_stream(&f->upstream, sent,
				    0); /* what was not used up is reported again */
	test_peer_expect_text(&f->client, "me too");
}

#define BULK_SIZE 40000

static bool has_all_of_a_message(void *data)
{
	const struct relay_fixture *f = data;
	int size = 0;

	return ioctl(f->fd[RELAY_CLIENT], FIONREAD, &size) == 0 && size == BULK_SIZE;
}

/* Have the relay read a large message at once. */
static void relay_large_message(struct relay_fixture *f)
{
	static uint8_t bytes[BULK_SIZE];

	stream_fill(bytes, sizeof bytes, 0);
	f->only_note = true;
	test_peer_send(&f->client, bytes, sizeof bytes);
	test_loop_until(&f->loop, has_all_of_a_message, f, "a message");
	f->only_note = false;
	relay_fixture_pump(f);
	relay_fixture_expect_stream(&f->upstream, sizeof bytes, 0);
}

static void test_bulk_is_spliced_and_small_messages_are_copied(void **state)
{
	struct relay_fixture *f = *state;
	const struct relay_flow *flow = &f->relay.flow[RELAY_CLIENT];

	for (unsigned i = 0; i < 5; i++)
		relay_large_message(f);
	assert_int_equal(flow->splicing, f->variant->pipes > 0);
	assert_int_equal(f->shared.pipes.open_count, f->variant->pipes > 0);
	assert_null(flow->pipe); /* nothing is in flight, so it was given back */
	for (unsigned i = 0; i < 4; i++) {
		test_peer_send_text(&f->client, "small");
		test_peer_expect_text(&f->upstream, "small");
	}
	assert_false(flow->splicing);
}

/* --- what came with the header --- */

static void test_what_came_first_is_sent_at_once(void **state)
{
	struct relay_fixture *f = *state;

	assert_int_equal(relay_send_first(&f->relay, (const uint8_t *)"first", 5), 5);
	assert_int_equal(f->relay.flow[RELAY_CLIENT].bytes, 5);
	assert_int_equal(in_flight(f, RELAY_CLIENT), 0);
	test_peer_send_text(&f->client, ", then this");
	test_peer_expect_text(&f->upstream, "first, then this");
}

static void test_what_came_first_and_is_not_taken_goes_first(void **state)
{
	struct relay_fixture *f = *state;
	static uint8_t bytes[RELAY_CHUNK];
	size_t taken = 0;
	int64_t n;

	f->only_note = true;
	do { /* until the upstream is full: like this, a partly taken one is certain */
		stream_fill(bytes, sizeof bytes, taken);
		n = relay_send_first(&f->relay, bytes, sizeof bytes);
		assert_in_range(n, 0, sizeof bytes);
		taken += (size_t)n;
	} while (n == sizeof bytes);
	assert_int_equal(f->relay.flow[RELAY_CLIENT].bytes, taken);
	assert_int_equal(in_flight(f, RELAY_CLIENT), sizeof bytes - (size_t)n);
	test_peer_send_text(&f->client, "then this");
	test_loop_settle(&f->loop);
	f->only_note = false;
	relay_fixture_expect_stream(&f->upstream, taken, 0);
	test_loop_settle(&f->loop);
	relay_fixture_pump(f);
	relay_fixture_expect_stream(&f->upstream, sizeof bytes - (size_t)n, taken);
	test_peer_expect_text(&f->upstream, "then this");
}

static void test_a_socket_that_takes_nothing_has_the_first_held(void **state)
{
	struct relay_fixture *f = *state;

	f->relay.side[RELAY_UPSTREAM].writable = false;
	assert_int_equal(relay_send_first(&f->relay, (const uint8_t *)"first", 5), 0);
	assert_int_equal(in_flight(f, RELAY_CLIENT), 5);
	test_peer_send_text(&f->client, ", then this");
	test_loop_settle(&f->loop);
	assert_int_equal(f->relay.flow[RELAY_CLIENT].bytes, 0);
	relay_note_events(&f->relay, RELAY_UPSTREAM, EPOLLOUT);
	relay_fixture_pump(f);
	test_peer_expect_text(&f->upstream, "first, then this");
}

static void test_what_was_held_for_an_upstream_to_come_goes_first(void **state)
{
	struct relay_fixture *f = *state;

	assert_int_equal(relay_hold_first(&f->relay, (const uint8_t *)"first", 5), 0);
	test_peer_send_text(&f->client, ", then this");
	test_peer_shutdown(&f->client);
	test_peer_expect_text(&f->upstream, "first, then this");
	test_peer_expect_end(&f->upstream);
}

static void test_a_broken_upstream_takes_no_first(void **state)
{
	struct relay_fixture *f = *state;
	int64_t n;

	f->only_note = true;
	test_peer_reset(&f->upstream);
	n = relay_send_first(&f->relay, (const uint8_t *)"first", 5);
	assert_true(n == -ECONNRESET || n == -EPIPE);
	assert_int_equal(in_flight(f, RELAY_CLIENT), 0);
}

static void test_without_memory_nothing_is_held(void **state)
{
	struct relay_fixture *f = *state;

	f->relay.side[RELAY_UPSTREAM].writable = false;
	fault_arm(0);
	assert_int_equal(relay_send_first(&f->relay, (const uint8_t *)"first", 5), -ENOMEM);
	assert_true(fault_disarm());
	fault_arm(0);
	assert_int_equal(relay_hold_first(&f->relay, (const uint8_t *)"first", 5), -ENOMEM);
	assert_true(fault_disarm());
	assert_int_equal(in_flight(f, RELAY_CLIENT), 0);
}

/* Bytes that can neither be written nor kept are lost, and so is the connection. Without memory for a pipe
 * one can copy. */
static void test_without_memory_a_stalled_stream_breaks(void **state)
{
	struct relay_fixture *f = *state;

	fault_arm(0);
	f->only_note = true;
	relay_fixture_send_until_stalled(f, &f->client);
	f->only_note = false;
	f->relay.side[RELAY_UPSTREAM].writable = false;
	relay_fixture_pump(f);
	assert_true(fault_disarm());
	assert_int_equal(f->status, f->variant->splicing ? RELAY_WAIT : RELAY_UPSTREAM_RESET);
}

/* --- all cases on all variants --- */

static const struct relay_variant variants[] = {
	{ "copying, unix", false, false, 0 },
	{ "copying, TCP", true, false, 0 },
	{ "splicing, unix", false, true, 8 },
	{ "splicing, TCP", true, true, 8 },
	{ "splicing what is bulk, unix", false, false, 8 },
	{ "splicing what is bulk, TCP", true, false, 8 },
	{ "one pipe for both ways, TCP", true, true, 1 },
};

static const struct {
	const char *name;
	CMUnitTestFunction function;
} cases[] = {
#define CASE(name)                 \
	{                          \
#name, test_##name \
	}
	CASE(bytes_go_both_ways),
	CASE(the_client_may_end_first),
	CASE(the_upstream_may_end_first),
	CASE(both_may_end_at_the_same_time),
	CASE(an_end_that_came_with_data_is_seen),
	CASE(what_was_noted_before_the_first_pump_is_moved),
	CASE(a_closed_client_ends_the_upstream),
	CASE(a_stalled_reader_holds_back_its_sender_alone),
	CASE(both_ways_may_be_stalled),
	CASE(an_end_waits_for_what_is_before_it),
	CASE(a_reset_by_the_client_is_told),
	CASE(a_reset_by_the_upstream_is_told),
	CASE(a_reset_after_an_orderly_end_is_told),
	CASE(a_reset_by_a_sender_that_is_held_back_is_told),
	CASE(a_reset_by_a_stalled_reader_is_told),
	CASE(data_before_a_reset_is_delivered),
	CASE(an_answer_before_a_reset_is_delivered),
	CASE(streams_of_random_pieces_arrive_whole),
	CASE(a_pump_ends_after_its_turn),
	CASE(bulk_is_spliced_and_small_messages_are_copied),
	CASE(what_came_first_is_sent_at_once),
	CASE(what_came_first_and_is_not_taken_goes_first),
	CASE(a_socket_that_takes_nothing_has_the_first_held),
	CASE(what_was_held_for_an_upstream_to_come_goes_first),
	CASE(a_broken_upstream_takes_no_first),
	CASE(without_memory_nothing_is_held),
	CASE(without_memory_a_stalled_stream_breaks),
};

int main(void)
{
	static struct CMUnitTest tests[ARRAY_SIZE(variants) * ARRAY_SIZE(cases)];
	static char names[ARRAY_SIZE(tests)][128];
	size_t count = 0;

	signal(SIGPIPE, SIG_IGN); /* as the server does: splice(2) knows no MSG_NOSIGNAL */
	for (size_t v = 0; v < ARRAY_SIZE(variants); v++) {
		for (size_t c = 0; c < ARRAY_SIZE(cases); c++, count++) {
			union {
				const struct relay_variant *variant;
				void *state;
			} initial = { &variants[v] }; /* cmocka's are not const */

			snprintf(names[count], sizeof names[count], "%s (%s)", cases[c].name,
				 variants[v].name);
			tests[count] = (struct CMUnitTest){
				names[count],           cases[c].function, relay_fixture_setup,
				relay_fixture_teardown, initial.state,
			};
		}
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
