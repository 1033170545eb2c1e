/* SPDX-License-Identifier: MIT */
/* Sessions as a whole: how they end, how many there may be, and what if memory runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/header_vectors.h"
#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/epoll_fault.h"
#include "loop/session_fixture.h"

/* More than one turn of a relay, which are 16 reads. */
#define MANY_BYTES (24 * RELAY_CHUNK)

#define CROWD 5

/* --- the end --- */

static void test_a_reset_by_the_client_resets_the_upstream(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER "hello");
	test_peer_expect_text(&f->upstream, "hello");
	test_peer_reset(&f->client);
	test_peer_expect_reset(&f->upstream);
	session_fixture_expect(f, "client_reset");
	assert_string_equal(session_fixture_text(f, "level"), "info");
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
}

static void test_a_reset_by_the_upstream_resets_the_client(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	test_peer_reset(&f->upstream);
	test_peer_expect_reset(&f->client);
	session_fixture_expect(f, "upstream_reset");
}

static void test_the_upstream_may_end_first(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	test_peer_send_text(&f->upstream, "good bye");
	test_peer_shutdown(&f->upstream);
	test_peer_expect_text(&f->client, "good bye");
	test_peer_expect_end(&f->client);
	test_peer_send_text(&f->client, "same to you");
	test_peer_expect_text(&f->upstream, "same to you");
	test_peer_shutdown(&f->client);
	test_peer_expect_end(&f->upstream);
	session_fixture_expect(f, "finished");
}

static void test_silence_ends_a_session_that_may_not_idle(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"idle_timeout_ms\": 20");
	session_fixture_relay(f, HEADER);
	session_fixture_expect(f, "idle_timeout");
	test_peer_expect_reset(&f->client);
	test_peer_expect_reset(&f->upstream);
}

/* Let the loop's clock go on. */
static void step(struct session_fixture *f)
{
	uint64_t before = uv_now(&f->loop);

	while (uv_now(&f->loop) == before)
		uv_update_time(&f->loop);
}

static void test_bytes_in_either_direction_put_that_off(void **state)
{
	struct session_fixture *f = *state;
	const struct deadline *d;
	uint64_t at_ms;

	session_fixture_serve(f, NULL, "\"idle_timeout_ms\": 600000");
	session_fixture_relay(f, HEADER);
	d = &session_fixture_session(f)->deadline;
	at_ms = d->at_ms;
	step(f);
	test_peer_send_text(&f->client, "x");
	test_peer_expect_text(&f->upstream, "x");
	assert_true(d->at_ms > at_ms);
	at_ms = d->at_ms;
	step(f);
	test_peer_send_text(&f->upstream, "y");
	test_peer_expect_text(&f->client, "y");
	assert_true(d->at_ms > at_ms);
	session_fixture_finish(f);
}

/* Events that move nothing are no activity: a peer that only acknowledges cannot hold a session. */
static void test_events_without_bytes_do_not(void **state)
{
	struct session_fixture *f = *state;
	struct session *s;
	uint64_t at_ms;

	session_fixture_serve(f, NULL, "\"idle_timeout_ms\": 600000");
	session_fixture_relay(f, HEADER);
	s = session_fixture_session(f);
	at_ms = s->deadline.at_ms;
	step(f);
	s->client_watch.cb(&s->client_watch, EPOLLOUT);
	s->upstream_watch.cb(&s->upstream_watch, EPOLLOUT);
	assert_int_equal(s->deadline.at_ms, at_ms);
	session_fixture_finish(f);
}

/* Open a session and leave it in @wanted. */
static void bring_to(struct session_fixture *f, enum session_state wanted)
{
	session_fixture_connect(f);
	if (wanted != SESSION_HEADER)
		test_peer_send_text(&f->client, HEADER);
	session_fixture_start(f);
	if (wanted == SESSION_RELAY) {
		test_peer_accept(&f->app, &f->upstream);
		test_loop_settle(&f->loop);
	}
	assert_int_equal(session_fixture_session(f)->state, wanted);
}

static void test_a_session_can_be_ended_in_every_state(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	for (int wanted = SESSION_HEADER; wanted < SESSION_CLOSED; wanted++) {
		bring_to(f, (enum session_state)wanted);
		session_env_end_sessions(&f->env, OUTCOME_shutdown);
		session_fixture_expect(f, "shutdown");
		test_peer_expect_reset(&f->client);
		if (wanted == SESSION_CONNECT)
			test_peer_accept(&f->app, &f->upstream);
		if (wanted != SESSION_HEADER)
			test_peer_expect_reset(&f->upstream);
		test_peer_close(&f->upstream);
	}
}

static void test_the_first_outcome_is_the_true_one(void **state)
{
	struct session_fixture *f = *state;
	struct session *s;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	s = session_fixture_session(f);
	session_close(s, OUTCOME_idle_timeout);
	session_close(s, OUTCOME_shutdown);
	/* Events of the round in which it ended still find it. */
	s->client_watch.cb(&s->client_watch, EPOLLIN);
	s->upstream_watch.cb(&s->upstream_watch, EPOLLIN);
	session_env_reap(&f->env);
	session_fixture_expect(f, "idle_timeout");
	session_fixture_open(f);
	test_peer_shutdown(&f->client);
	session_fixture_expect(f, "probe"); /* and no other line came between */
}

static void test_both_ends_of_a_session_in_one_round(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	test_peer_reset(&f->client);
	test_peer_reset(&f->upstream);
	session_fixture_expect(f, "client_reset");
}

/* Whole rounds end at once, some while others are looked at. */
static void test_many_sessions_end_together(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer clients[CROWD];

	session_fixture_serve(f, NULL, "");
	for (unsigned i = 0; i < CROWD; i++) {
		session_fixture_open(f);
		clients[i] = f->client;
		f->client.fd = -1;
	}
	test_loop_settle(&f->loop);
	assert_int_equal(f->env.count, CROWD);
	assert_int_equal(atomic_load(&f->process.active), CROWD);
	for (unsigned i = 0; i < CROWD; i++)
		test_peer_close(&clients[i]);
	session_fixture_expect_none(f);
	assert_int_equal(atomic_load(&f->process.active), 0);
	assert_true(list_is_empty(&f->env.closed));
}

static void test_without_an_access_log_there_is_no_line(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	f->config->log_access = false;
	session_fixture_open(f);
	test_peer_close(&f->client);
	session_fixture_expect_none(f);
	f->config->log_access = true;
	session_fixture_open(f);
	test_peer_reset(&f->client);
	session_fixture_expect(f, "probe");
	assert_int_equal(session_fixture_number(f, "id"), 2);
}

/* Each worker counts for itself, and no two sessions of the process have the same number. */
static void test_ids_are_the_workers_own(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	f->env.next_id = 3;
	f->env.id_step = 4;
	for (int id = 3; id <= 11; id += 4) {
		session_fixture_open(f);
		test_peer_close(&f->client);
		session_fixture_expect(f, "probe");
		assert_int_equal(session_fixture_number(f, "id"), id);
	}
}

static void test_states_have_names(void **state)
{
	(void)state;
	assert_string_equal(session_state_name(SESSION_HEADER), "header");
	assert_string_equal(session_state_name(SESSION_CONNECT), "connect");
	assert_string_equal(session_state_name(SESSION_RELAY), "relay");
	assert_string_equal(session_state_name(SESSION_CLOSED), "closed");
}

/* --- limits --- */

static void expect_one_too_many(struct session_fixture *f)
{
	struct test_peer first;

	session_fixture_open(f);
	first = f->client;
	f->client.fd = -1;
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER);
	session_fixture_start(f);
	session_fixture_expect(f, "listener_limit");
	test_peer_expect_reset(&f->client);
	session_fixture_expect_no_upstream(f);
	assert_int_equal(atomic_load(&f->process.active), 1);
	assert_int_equal(atomic_load(&f->shared->admission.active), 1);

	test_peer_close(&first); /* makes room */
	session_fixture_expect(f, "probe");
	session_fixture_relay(f, HEADER);
	session_fixture_finish(f);
}

static void test_a_listener_has_so_many_connections(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"max_connections\": 1");
	expect_one_too_many(f);
}

static void test_the_process_has_so_many_connections(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	f->process.limit = 1;
	expect_one_too_many(f);
}

static void test_a_listener_without_a_limit_is_counted_all_the_same(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	assert_int_equal(atomic_load(&f->process.active), 1);
	assert_int_equal(atomic_load(&f->shared->admission.active), 1);
	session_fixture_finish(f);
}

/* --- volume --- */

static uint8_t many[MANY_BYTES];

static bool is_in_queue(void *data)
{
	const struct session_fixture *f = data;
	int unsent = 1;

	return ioctl(f->client.fd, TIOCOUTQ, &unsent) == 0 && unsent == 0;
}

/* Give all sockets room for all of it. Returns false if this needs CAP_NET_ADMIN. */
static bool make_room_for_many(struct session_fixture *f)
{
	const int fds[] = { f->listening.fd, f->app.fd };
	int room = 4 * MANY_BYTES;

	for (size_t i = 0; i < sizeof many; i++)
		many[i] = (uint8_t)(i * 7 >> 4);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) /* accepted sockets inherit it */
		if (setsockopt(fds[i], SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
			return false;
	return true;
}

/* Without the session's doing anything yet. */
static void send_many(struct session_fixture *f)
{
	int room = 4 * MANY_BYTES;

	assert_int_equal(setsockopt(f->client.fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room),
			 0);
	assert_int_equal(test_peer_send_some(&f->client, many, sizeof many), sizeof many);
	while (!is_in_queue(f))
		sched_yield();
}

/* More than a turn of the relay is there before the client's socket is watched: the rest must be found
 * when it is. */
static void test_a_fast_client_is_not_forgotten_after_its_first_turn(void **state)
{
	struct session_fixture *f = *state;

	if (!make_room_for_many(f))
		skip();
	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER);
	send_many(f);
	session_fixture_start(f);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect(&f->upstream, many, sizeof many);
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), sizeof many);
}

static void test_a_fast_client_is_not_forgotten_after_any_turn(void **state)
{
	struct session_fixture *f = *state;

	if (!make_room_for_many(f))
		skip();
	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	send_many(f);
	test_peer_expect(&f->upstream, many, sizeof many);
	session_fixture_finish(f);
}

/* --- without memory or descriptors --- */

/* A slow header with TLVs, and a payload that has to wait: all that a session ever allocates. Returns false if
 * the session did not live to relay it. */
static bool relay_all_in_all(struct session_fixture *f)
{
	static const char header[] = NLB_PRIVATELINK;
	struct test_peer accepted;

	session_fixture_connect(f);
	test_peer_send(&f->client, header, 20);
	if (session_fixture_try_start(f) != 0)
		return false;
	test_loop_settle(&f->loop);
	if (f->env.count == 0)
		return false;
	test_peer_send(&f->client, header + 20, sizeof header - 1 - 20);
	test_peer_send_text(&f->client, "hello");
	test_loop_settle(&f->loop);
	if (f->env.count == 0)
		return false;
	test_peer_accept(&f->app, &accepted); /* makes room in the backlog */
	test_peer_close(&accepted);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "hello");
	return true;
}

/* Which allocation fails, and how the session ends. */
static const char *const outcomes[] = {
	NULL,             /* the session: there is none */
	"header_timeout", /* what has come of the header */
	"finished",       /* its TLVs: the log does without */
	"upstream_error", /* the payload */
	"finished",       /* no other */
};

static void test_every_allocation_of_a_session_may_fail(void **state)
{
	struct session_fixture *f = *state;
	char upstream[80];
	struct test_peer first;

	snprintf(upstream, sizeof upstream, "\"%s\"", f->unix_text);
	session_fixture_serve(f, upstream, "");
	for (unsigned i = 0; i < ARRAY_SIZE(outcomes); i++) {
		bool relayed;

		test_peer_close(&f->app);
		unlink(f->unix_text + strlen("unix:"));
		test_peer_listen(&f->app, &f->loop, f->unix_text, 0);
		test_peer_connect(&first, &f->loop, f->unix_text, NULL);
		fault_arm(i);
		relayed = relay_all_in_all(f);
		assert_int_equal(fault_disarm(), i < ARRAY_SIZE(outcomes) - 1);
		if (relayed) {
			assert_string_equal(outcomes[i], "finished");
			session_fixture_finish(f);
			assert_int_equal(cJSON_HasObjectItem(f->line, "tlv"), i != 2);
		} else {
			test_peer_expect_reset(&f->client);
			if (outcomes[i] != NULL) {
				session_fixture_expect(f, outcomes[i]);
				assert_string_equal(session_fixture_text(f, "reason"),
						    "not enough memory");
			}
		}
		assert_int_equal(f->env.count, 0);
		assert_int_equal(atomic_load(&f->process.active), 0);
		test_peer_close(&first);
	}
}

static void test_an_upstream_that_cannot_be_watched_is_an_error(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER "hello");
	epoll_fault_allow(0);
	session_fixture_start(f);
	epoll_fault_allow(-1);
	session_fixture_expect(f, "upstream_error");
	assert_string_equal(session_fixture_text(f, "reason"), "no space left on device");
	test_peer_expect_reset(&f->client);
}

static void test_a_client_that_cannot_be_watched_is_refused(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER);
	epoll_fault_allow(1); /* the upstream, which comes first */
	session_fixture_start(f);
	epoll_fault_allow(-1);
	session_fixture_expect(f, "listener_limit");
	test_peer_expect_reset(&f->client);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_reset(&f->upstream);
}

static void test_an_env_without_memory_or_descriptors_does_not_open(void **state)
{
	struct session_fixture *f = *state;
	struct session_env_options options = { .log = f->env.log, .process = &f->process };
	struct session_env env;
	struct rlimit old;
	struct rlimit none;

	fault_arm(0);
	assert_int_equal(session_env_open(&env, &f->loop, &options), -ENOMEM);
	assert_true(fault_disarm());
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(session_env_open(&env, &f->loop, &options), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	test_loop_settle(&f->loop); /* closes what had been opened; the fixture looks at the rest */
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, session_fixture_setup, session_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_a_reset_by_the_client_resets_the_upstream),
		TEST(test_a_reset_by_the_upstream_resets_the_client),
		TEST(test_the_upstream_may_end_first),
		TEST(test_silence_ends_a_session_that_may_not_idle),
		TEST(test_bytes_in_either_direction_put_that_off),
		TEST(test_events_without_bytes_do_not),
		TEST(test_a_session_can_be_ended_in_every_state),
		TEST(test_the_first_outcome_is_the_true_one),
		TEST(test_both_ends_of_a_session_in_one_round),
		TEST(test_many_sessions_end_together),
		TEST(test_without_an_access_log_there_is_no_line),
		TEST(test_ids_are_the_workers_own),
		cmocka_unit_test(test_states_have_names),
		TEST(test_a_listener_has_so_many_connections),
		TEST(test_the_process_has_so_many_connections),
		TEST(test_a_listener_without_a_limit_is_counted_all_the_same),
		TEST(test_a_fast_client_is_not_forgotten_after_its_first_turn),
		TEST(test_a_fast_client_is_not_forgotten_after_any_turn),
		TEST(test_every_allocation_of_a_session_may_fail),
		TEST(test_an_upstream_that_cannot_be_watched_is_an_error),
		TEST(test_a_client_that_cannot_be_watched_is_refused),
		TEST(test_an_env_without_memory_or_descriptors_does_not_open),
	};

	signal(SIGPIPE, SIG_IGN); /* as the server does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
