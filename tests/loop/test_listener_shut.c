/* SPDX-License-Identifier: MIT */
/* Listeners that refuse connections while their application is down. */
#include "loop/listener_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* At a port that the kernel did not choose: such as it keeps for us. */
static void start_at_port(struct fixture *f)
{
	char at[32];

	snprintf(at, sizeof at, "127.0.0.1:%u", session_fixture_unused_port(f->s));
	test_peer_close(&f->s->listening);
	test_peer_listen(&f->s->listening, &f->s->loop, at, 128);
	start_listener(f);
}

static bool is_refused(const struct fixture *f)
{
	struct sockaddr_storage ss;
	struct address a;
	const char *why;
	socklen_t size;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rv;

	assert_int_equal(address_parse(f->name, &a, &why), 0);
	size = address_to_sockaddr(&a, &ss);
	rv = connect(fd, (const struct sockaddr *)&ss, size) == 0 ? 0 : errno;
	close(fd);
	assert_true(rv == 0 || rv == ECONNREFUSED);
	return rv != 0;
}

static void test_what_is_shut_refuses_until_it_is_reopened(void **state)
{
	struct fixture *f = *state;

	start_at_port(f);
	for (unsigned i = 0; i < 2; i++) {
		listener_shut(f->listener);
		listener_shut(f->listener);
		assert_true(is_refused(f));
		test_loop_settle(&f->s->loop); /* it is not watched, or this would not end */
		listener_reopen(f->listener);
		listener_reopen(f->listener);
		assert_false(is_refused(f));
		session_fixture_expect(f->s, "probe");
	}
	connect_client(f);
	test_loop_until(&f->s->loop, has_crowd, f, "a client");
}

static void test_who_has_connected_is_served_when_it_is_shut(void **state)
{
	struct fixture *f = *state;

	start_at_port(f);
	test_peer_send_text(connect_client(f), HEADER "hello");
	connect_client(f);
	listener_shut(f->listener);
	assert_int_equal(f->s->env.count, 2);
	test_peer_accept(&f->s->app, &f->s->upstream);
	test_peer_expect_text(&f->s->upstream, "hello");
}

/* Somebody has taken the port, as root may. It is tried again until that is over. */
static void test_what_cannot_be_reopened_yet_is_tried_again(void **state)
{
	struct fixture *f = *state;
	struct test_peer other;
	const int on = 1;

	start_at_port(f);
	listener_shut(f->listener);
	setsockopt(f->listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	test_peer_listen(&other, NULL, f->name, 1);
	listener_reopen(f->listener);
	session_fixture_expect_event(f->s, "accept");
	assert_non_null(strstr(session_fixture_text(f->s, "message"), "address already in use"));
	test_peer_close(&other);
	test_loop_until(&f->s->loop, is_watched, f->listener, "the port");
	connect_client(f);
	test_loop_until(&f->s->loop, has_crowd, f, "the client");
}

static void test_shutting_ends_a_pause(void **state)
{
	struct fixture *f = *state;
	struct limit limit;

	start_at_port(f);
	connect_client(f);
	exhaust_descriptors(&limit);
	test_loop_until(&f->s->loop, is_paused, f->listener, "a pause");
	listener_shut(f->listener);
	assert_true(list_is_empty(&f->listener->resume.entries));
	restore_descriptors(&limit);
	assert_true(is_refused(f));
}

static void test_what_is_shut_can_be_stopped(void **state)
{
	struct fixture *f = *state;

	start_at_port(f);
	listener_shut(f->listener);
	listener_stop(f->listener);
	listener_shut(f->listener);
	listener_reopen(f->listener);
	assert_true(is_refused(f));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_what_is_shut_refuses_until_it_is_reopened),
		TEST(test_who_has_connected_is_served_when_it_is_shut),
		TEST(test_what_cannot_be_reopened_yet_is_tried_again),
		TEST(test_shutting_ends_a_pause),
		TEST(test_what_is_shut_can_be_stopped),
	};

	signal(SIGPIPE, SIG_IGN); /* as the server does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
