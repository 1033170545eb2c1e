/* SPDX-License-Identifier: MIT */
#include "loop/listener_fixture.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/test_fault.h"
#include "loop/epoll_fault.h"

static void test_clients_are_accepted_and_served(void **state)
{
	struct fixture *f = *state;
	const struct test_peer *client;

	start_listener(f);
	client = connect_client(f);
	test_peer_send_text(client, HEADER "hello");
	test_peer_accept(&f->s->app, &f->s->upstream);
	test_peer_expect_text(&f->s->upstream, "hello");
	test_peer_shutdown(client);
	test_peer_shutdown(&f->s->upstream);
	test_peer_expect_end(client);
	session_fixture_expect(f->s, "finished");
	assert_string_equal(session_fixture_text(f->s, "client"), CLIENT);
}

/* Sessions have their turn between. */
static void test_a_crowd_is_accepted_in_turns(void **state)
{
	struct fixture *f = *state;

	start_listener(f);
	while (f->count < CROWD)
		connect_client(f);
	f->listener->watch.cb(&f->listener->watch, EPOLLIN);
	assert_int_equal(f->s->env.count, TURN);
	test_loop_until(&f->s->loop, has_crowd, f, "all clients");
}

static void test_a_client_that_is_gone_already_does_no_harm(void **state)
{
	struct fixture *f = *state;

	open_listener(f, "");
	test_peer_reset(connect_client(f));
	connect_client(f);
	assert_int_equal(listener_start(f->listener), 0);
	session_fixture_expect(f->s, "probe");
	assert_int_equal(f->s->env.count, 1);
}

/* --- shortages --- */

static void test_without_descriptors_it_pauses_and_then_goes_on(void **state)
{
	struct fixture *f = *state;
	struct limit limit;
	const struct test_peer *first;

	start_listener(f);
	first = connect_client(f);
	test_peer_send_text(first, HEADER);
	test_peer_accept(&f->s->app, &f->s->upstream);
	connect_client(f);
	connect_client(f);
	exhaust_descriptors(&limit);
	session_fixture_expect_event(f->s, "accept");
	assert_string_equal(session_fixture_text(f->s, "level"), "error");
	assert_non_null(strstr(session_fixture_text(f->s, "message"), "too many open files"));
	test_loop_settle(&f->s->loop); /* and does not try in vain all the time */
	assert_int_equal(f->s->env.count, 1);

	test_peer_send_text(first, "the sessions go on"); /* meanwhile */
	test_peer_expect_text(&f->s->upstream, "the sessions go on");

	restore_descriptors(&limit);
	test_loop_until(&f->s->loop, has_crowd, f, "those who waited");
	session_fixture_expect_event(f->s, "accept");
	assert_string_equal(session_fixture_text(f->s, "level"), "warn");
	assert_non_null(strstr(session_fixture_text(f->s, "message"), "accepting again"));
}

/* A shortage is one line in the log, however long it lasts. */
static void test_a_long_shortage_is_reported_once(void **state)
{
	struct fixture *f = *state;
	struct limit limit;

	start_listener(f);
	connect_client(f);
	exhaust_descriptors(&limit);
	for (unsigned i = 0; i < 3; i++) {
		test_loop_until(&f->s->loop, is_paused, f->listener, "a pause");
		/* What the end of the pause does, now. */
		deadline_disarm(&f->listener->pause);
		f->listener->resume.cb(&f->listener->pause);
		assert_true(is_watched(f->listener));
	}
	restore_descriptors(&limit);
	test_loop_until(&f->s->loop, has_crowd, f, "the client");
	session_fixture_expect_event(f->s, "accept");
	assert_string_equal(session_fixture_text(f->s, "level"), "error");
	session_fixture_expect_event(f->s, "accept");
	assert_string_equal(session_fixture_text(f->s, "level"), "warn");
}

static void test_without_memory_it_pauses_as_well(void **state)
{
	struct fixture *f = *state;
	const struct test_peer *unlucky;

	start_listener(f);
	unlucky = connect_client(f);
	fault_arm(0);
	test_loop_until(&f->s->loop, is_paused, f->listener, "a pause");
	assert_true(fault_disarm());
	assert_int_equal(f->s->env.count, 0);
	test_peer_expect_end(unlucky);
	session_fixture_expect_event(f->s, "accept");
	test_loop_until(&f->s->loop, is_watched, f->listener, "the end of the pause");
}

/* The end of a pause may be as short of something as its beginning. */
static void test_a_pause_that_cannot_end_yet_goes_on(void **state)
{
	struct fixture *f = *state;
	struct limit limit;

	start_listener(f);
	connect_client(f);
	exhaust_descriptors(&limit);
	test_loop_until(&f->s->loop, is_paused, f->listener, "a pause");
	restore_descriptors(&limit);
	epoll_fault_allow(0);
	deadline_disarm(&f->listener->pause);
	f->listener->resume.cb(&f->listener->pause);
	epoll_fault_allow(-1);
	assert_false(is_watched(f->listener));
	test_loop_until(&f->s->loop, has_crowd, f, "the client");
}

static int accept_error; /* of the next accept4(2); 0: none */

/* The linker sends our own calls here (meson.build). */
int __real_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	errno = accept_error;
	accept_error = 0;
	return errno != 0 ? -1 : __real_accept4(fd, address, size, flags);
}

/* accept(2) may report what a connection died of while it waited. */
static void test_a_connection_that_died_is_skipped(void **state)
{
	struct fixture *f = *state;

	start_listener(f);
	connect_client(f);
	accept_error = ECONNABORTED;
	test_loop_until(&f->s->loop, has_crowd, f, "the next client");
	assert_true(is_watched(f->listener));
}

static void test_a_stop_ends_a_pause(void **state)
{
	struct fixture *f = *state;
	struct limit limit;

	start_listener(f);
	connect_client(f);
	exhaust_descriptors(&limit);
	test_loop_until(&f->s->loop, is_paused, f->listener, "a pause");
	listener_stop(f->listener);
	assert_true(list_is_empty(&f->listener->resume.entries));
	restore_descriptors(&limit);
}

static void test_what_cannot_be_watched_is_an_error(void **state)
{
	struct fixture *f = *state;

	start_listener(f);
	assert_true(listener_start(f->listener) < 0); /* it is watched already */
	assert_false(is_watched(f->listener));
}

/* At the latest possible moment, when nobody wants to hear of an error any more. */
static void test_what_cannot_be_watched_yet_is_tried_again(void **state)
{
	struct fixture *f = *state;

	open_listener(f, "");
	epoll_fault_allow(0);
	listener_start_or_retry(f->listener);
	epoll_fault_allow(-1);
	assert_false(is_watched(f->listener));
	session_fixture_expect_event(f->s, "accept");
	assert_non_null(strstr(session_fixture_text(f->s, "message"), "no space left on device"));
	connect_client(f);
	test_loop_until(&f->s->loop, has_crowd, f, "the client");
	session_fixture_expect_event(f->s, "accept");
	assert_non_null(strstr(session_fixture_text(f->s, "message"), "accepting again"));
}

/* --- another service --- */

/* As a reload does, with @addresses that the main thread knows. */
static void replace_service(struct fixture *f, const char *upstream, const char *keys,
			    const struct address *known)
{
	const struct upstream_addresses one = { .count = 1, .list = { *known } };
	const struct upstream_addresses addresses[2] = { one, one };
	struct session_service *service;

	session_fixture_load(f->s, upstream, keys);
	session_fixture_create_service(f->s, addresses, &service);
	listener_set_service(f->listener, service);
}

static void test_another_service_is_for_new_connections(void **state)
{
	struct fixture *f = *state;
	struct address nowhere = loopback_address(1, session_fixture_unused_port(f->s));

	start_listener(f);
	test_peer_send_text(connect_client(f), HEADER "hello");
	test_peer_accept(&f->s->app, &f->s->upstream);
	replace_service(f, "\"127.0.0.1:9\"", "", &nowhere);
	test_peer_send_text(connect_client(f), HEADER);
	session_fixture_expect(f->s, "upstream_refused");
	test_peer_expect_text(&f->s->upstream, "hello");
	test_peer_send_text(&f->crowd[0], "still here");
	test_peer_expect_text(&f->s->upstream, "still here");
}

/* The main thread knows what a name meant at the start, this worker what it means now. */
static void test_another_service_knows_what_the_one_before_found_out(void **state)
{
	struct fixture *f = *state;
	struct address nowhere = loopback_address(1, session_fixture_unused_port(f->s));

	start_listener(f);
	replace_service(f, NULL, "\"header_timeout_ms\": 30000", &nowhere);
	test_peer_send_text(connect_client(f), HEADER "hello");
	test_peer_accept(&f->s->app, &f->s->upstream);
	test_peer_expect_text(&f->s->upstream, "hello");
}

static void test_a_pause_outlasts_a_service(void **state)
{
	struct fixture *f = *state;
	struct address nowhere = loopback_address(1, session_fixture_unused_port(f->s));
	struct limit limit;

	start_listener(f);
	connect_client(f);
	exhaust_descriptors(&limit);
	test_loop_until(&f->s->loop, is_paused, f->listener, "a pause");
	restore_descriptors(&limit);
	replace_service(f, NULL, "", &nowhere);
	assert_false(is_watched(f->listener));
	test_loop_until(&f->s->loop, has_crowd, f, "the client");
}

/* --- the end --- */

static void test_a_stop_accepts_what_has_connected(void **state)
{
	struct fixture *f = *state;

	start_listener(f);
	for (unsigned i = 0; i < 5; i++)
		connect_client(f);
	listener_stop(f->listener);
	assert_int_equal(f->s->env.count, 5);
	assert_int_equal(f->listener->fd, -1);
	assert_false(is_watched(f->listener));
	test_peer_send_text(&f->crowd[4], HEADER "hello");
	test_peer_accept(&f->s->app, &f->s->upstream);
	test_peer_expect_text(&f->s->upstream, "hello");
}

/* Its event was fetched with the round. */
static void test_an_event_after_the_stop_is_nobodys(void **state)
{
	struct fixture *f = *state;

	start_listener(f);
	listener_stop(f->listener);
	f->listener->watch.cb(&f->listener->watch, EPOLLIN);
	assert_int_equal(f->s->env.count, 0);
}

/* --- one socket, two workers --- */

/* A second worker for the unix socket of the first: a loop, an env, and a listener on a duplicate. */
struct second {
	uv_loop_t loop;
	struct session_env env;
	struct listener *listener;
};

static void start_second(struct fixture *f, struct second *second)
{
	struct session_fixture *s = f->s;
	struct session_env_options options = {
		.log = s->env.log,
		.process = &s->process,
		.worker = 1,
		.workers = 2,
	};
	const struct upstream_addresses addresses[2] = {
		f->listener->service->upstream[0].addresses,
		f->listener->service->upstream[1].addresses,
	};
	struct session_service *service;

	test_loop_open(&second->loop);
	assert_int_equal(session_env_open(&second->env, &second->loop, &options), 0);
	second->loop.data = &second->env.poller;
	session_fixture_create_service(s, addresses, &service);
	second->listener = listener_create(fcntl(f->listener->fd, F_DUPFD_CLOEXEC, 0), service);
	assert_non_null(second->listener);
	listener_attach(second->listener, &second->env);
	assert_int_equal(listener_start(second->listener), 0);
}

static void on_closed(struct session_env *env)
{
	(void)env;
}

static void end_second(struct second *second)
{
	listener_stop(second->listener);
	session_env_end_sessions(&second->env, OUTCOME_shutdown);
	listener_destroy(second->listener);
	session_env_close(&second->env, on_closed);
	test_loop_run_out(&second->loop);
	test_loop_close(&second->loop);
}

static void start_both(struct fixture *f, struct second *second)
{
	test_peer_close(&f->s->listening);
	test_peer_listen(&f->s->listening, &f->s->loop, f->s->unix_text, 64);
	start_listener(f);
	f->s->config->listeners[0].trust_unix = true;
	start_second(f, second);
}

static void test_two_workers_share_a_unix_socket(void **state)
{
	struct fixture *f = *state;
	struct second second;

	start_both(f, &second);
	for (unsigned i = 0; i < 10; i++)
		connect_client(f);
	test_loop_settle(&f->s->loop);
	test_loop_settle(&second.loop);
	assert_int_equal(f->s->env.count + second.env.count, 10);
	end_second(&second);
}

/* The socket lives on in the other worker, and its clients are none of ours any more. */
static void test_a_stopped_worker_is_not_woken_for_the_other_one(void **state)
{
	struct fixture *f = *state;
	struct second second;

	start_both(f, &second);
	listener_stop(second.listener);
	connect_client(f);
	test_loop_settle(&second.loop);
	assert_int_equal(second.env.count, 0);
	test_loop_settle(&f->s->loop);
	assert_int_equal(f->s->env.count, 1);
	end_second(&second);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_clients_are_accepted_and_served),
		TEST(test_a_crowd_is_accepted_in_turns),
		TEST(test_a_client_that_is_gone_already_does_no_harm),
		TEST(test_without_descriptors_it_pauses_and_then_goes_on),
		TEST(test_a_long_shortage_is_reported_once),
		TEST(test_without_memory_it_pauses_as_well),
		TEST(test_a_pause_that_cannot_end_yet_goes_on),
		TEST(test_a_connection_that_died_is_skipped),
		TEST(test_a_stop_ends_a_pause),
		TEST(test_what_cannot_be_watched_is_an_error),
		TEST(test_what_cannot_be_watched_yet_is_tried_again),
		TEST(test_another_service_is_for_new_connections),
		TEST(test_another_service_knows_what_the_one_before_found_out),
		TEST(test_a_pause_outlasts_a_service),
		TEST(test_a_stop_accepts_what_has_connected),
		TEST(test_an_event_after_the_stop_is_nobodys),
		TEST(test_two_workers_share_a_unix_socket),
		TEST(test_a_stopped_worker_is_not_woken_for_the_other_one),
	};

	signal(SIGPIPE, SIG_IGN); /* as the server does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
