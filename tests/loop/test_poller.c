/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_loop.h"
#include "lib/test_peer.h"
#include "session/poller.h"

#define WATCHES (2 * POLLER_ROUND)

/* A watched socket, its other end, and what has been reported. */
struct watched {
	struct poller_watch watch;
	struct fixture *fixture;
	struct test_peer peer;
	int fd;
	unsigned calls;
	uint32_t events;        /* all of them */
	struct watched *closes; /* in its callback, or NULL */
	unsigned again;         /* how often its callback asks to be called again */
};

struct fixture {
	uv_loop_t loop;
	struct poller poller;
	struct watched watched[2];
	unsigned calls;
	unsigned rounds;
	unsigned fds_before;
};

static void on_event(struct poller_watch *w, uint32_t events)
{
	struct watched *s = container_of(w, struct watched, watch);

	s->calls++;
	s->events |= events;
	s->fixture->calls++;
	if (s->again > 0) {
		s->again--;
		poller_again(&s->fixture->poller, w);
	}
	if (s->closes == NULL || s->closes->fd < 0)
		return;
	close(s->closes->fd);
	s->closes->fd = -1;
}

static void on_round(struct poller *p)
{
	container_of(p, struct fixture, poller)->rounds++;
}

static void open_watched(struct fixture *f, struct watched *s)
{
	*s = (struct watched){ .fixture = f };
	poller_watch_init(&s->watch, on_event);
	test_peer_pair_unix(&s->peer, &f->loop, &s->fd);
}

static void watch(struct fixture *f, struct watched *s)
{
	assert_int_equal(poller_add(&f->poller, s->fd, POLLER_SOCKET, &s->watch), 0);
}

static void close_watched(struct watched *s)
{
	if (s->fd >= 0)
		close(s->fd);
	test_peer_close(&s->peer);
}

/* What has been reported since the last time. */
static uint32_t take_events(struct watched *s)
{
	uint32_t events = s->events;

	s->events = 0;
	s->calls = 0;
	return events;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->fds_before = test_count_fds();
	test_loop_open(&f->loop);
	assert_int_equal(poller_open(&f->poller, &f->loop), 0);
	f->loop.data = &f->poller;
	f->poller.after_cb = on_round;
	for (size_t i = 0; i < ARRAY_SIZE(f->watched); i++)
		open_watched(f, &f->watched[i]);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(f->watched); i++)
		close_watched(&f->watched[i]);
	poller_close(&f->poller);
	test_loop_run_out(&f->loop);
	test_loop_close(&f->loop);
	assert_int_equal(test_count_fds(), f->fds_before);
	free(f);
	return 0;
}

static void test_what_is_there_already_is_reported(void **state)
{
	struct fixture *f = *state;
	struct watched *s = &f->watched[0];

	test_peer_send_text(&s->peer, "x");
	watch(f, s);
	poller_turn(&f->poller, false);
	assert_int_equal(s->events, EPOLLIN | EPOLLOUT);
	assert_int_equal(s->calls, 1);
	assert_int_equal(f->rounds, 1);
}

/* The byte is not read, and yet the loop sleeps. */
static void test_each_change_is_reported_once(void **state)
{
	struct fixture *f = *state;
	struct watched *s = &f->watched[0];

	watch(f, s);
	test_loop_settle(&f->loop);
	assert_int_equal(take_events(s), EPOLLOUT);
	test_peer_send_text(&s->peer, "x");
	test_loop_settle(&f->loop);
	assert_int_equal(s->calls, 1);
	assert_true(take_events(s) & EPOLLIN);
	test_loop_settle(&f->loop);
	assert_int_equal(s->calls, 0);
	test_peer_shutdown(&s->peer);
	test_loop_settle(&f->loop);
	assert_int_equal(s->calls, 1);
	assert_true(take_events(s) & EPOLLRDHUP);
}

/* Without an event, and not before the others have had theirs. */
static void test_a_watch_is_called_again_on_request(void **state)
{
	struct fixture *f = *state;
	struct watched *s = &f->watched[0];

	watch(f, s);
	test_loop_settle(&f->loop);
	take_events(s);
	poller_again(&f->poller, &s->watch);
	poller_again(&f->poller, &s->watch);
	assert_int_equal(s->calls, 0);
	test_loop_settle(&f->loop);
	assert_int_equal(s->calls, 1);
	assert_int_equal(take_events(s), 0);
	test_loop_settle(&f->loop);
	assert_int_equal(s->calls, 0);
}

static void test_who_asks_to_be_called_again_waits_for_the_next_round(void **state)
{
	struct fixture *f = *state;
	struct watched *s = &f->watched[0];

	s->again = 2;
	poller_again(&f->poller, &s->watch);
	poller_turn(&f->poller, true);
	assert_int_equal(s->calls, 1);
	poller_turn(&f->poller, true); /* does not wait: there is somebody to call */
	assert_int_equal(s->calls, 2);
	poller_turn(&f->poller, true);
	assert_int_equal(s->calls, 3);
	poller_turn(&f->poller, false);
	assert_int_equal(s->calls, 3);
}

static void test_a_request_can_be_taken_back(void **state)
{
	struct fixture *f = *state;
	struct watched *s = &f->watched[0];

	poller_again(&f->poller, &s->watch);
	poller_forget(&s->watch);
	poller_forget(&s->watch);
	test_loop_settle(&f->loop);
	assert_int_equal(s->calls, 0);
}

/* Keeps the loop alive until the socket was reported. */
static void on_timer(uv_timer_t *timer)
{
	const struct watched *w = timer->data;

	if (w->events & EPOLLOUT)
		uv_close((uv_handle_t *)timer, NULL);
}

/* Timers, closing handles and the end: all that uv_run() would do. */
static void test_it_runs_the_loop_until_nothing_keeps_that_alive(void **state)
{
	struct fixture *f = *state;
	uv_timer_t timer = { .data = &f->watched[0] };

	uv_timer_init(&f->loop, &timer);
	uv_timer_start(&timer, on_timer, 1, 1);
	watch(f, &f->watched[0]);
	poller_run(&f->poller);
	assert_false(uv_loop_alive(&f->loop));
}

static void test_what_was_removed_is_not_reported(void **state)
{
	struct fixture *f = *state;
	struct watched *s = &f->watched[0];

	watch(f, s);
	poller_remove(&f->poller, s->fd);
	test_peer_send_text(&s->peer, "x");
	test_loop_settle(&f->loop);
	assert_int_equal(s->calls, 0);
	watch(f, s);
	test_loop_settle(&f->loop);
	assert_true(take_events(s) & EPOLLIN);
}

static void test_a_closed_socket_is_not_watched_any_more(void **state)
{
	struct fixture *f = *state;
	struct watched *s = &f->watched[0];

	watch(f, s);
	test_loop_settle(&f->loop);
	take_events(s);
	close(s->fd);
	s->fd = -1;
	test_loop_settle(&f->loop);
	assert_int_equal(s->calls, 0);
}

/* Its event may have been fetched with the round: the watch is still called, and must be there. */
static void test_a_callback_may_close_the_socket_of_another_watch(void **state)
{
	struct fixture *f = *state;
	struct watched *a = &f->watched[0];
	struct watched *b = &f->watched[1];

	a->closes = b;
	b->closes = a;
	watch(f, a);
	watch(f, b);
	poller_turn(&f->poller, false);
	assert_int_equal(f->rounds, 1);
	assert_int_equal(a->calls, 1);
	assert_int_equal(b->calls, 1);
	take_events(a);
	take_events(b);
	test_peer_close(&a->peer);
	test_peer_close(&b->peer);
	test_loop_settle(&f->loop);
	assert_int_equal(a->calls + b->calls, 0);
}

static void test_more_than_a_round_is_reported_in_several(void **state)
{
	struct fixture *f = *state;
	static struct watched many[WATCHES];

	for (unsigned i = 0; i < WATCHES; i++) {
		open_watched(f, &many[i]);
		watch(f, &many[i]);
	}
	test_loop_settle(&f->loop);
	assert_int_equal(f->calls, WATCHES);
	assert_true(f->rounds >= 2);
	for (unsigned i = 0; i < WATCHES; i++) {
		assert_int_equal(many[i].calls, 1);
		close_watched(&many[i]);
	}
}

static void test_a_socket_that_cannot_be_watched_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct watched *s = &f->watched[0];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	watch(f, s);
	assert_int_equal(poller_add(&f->poller, s->fd, POLLER_SOCKET, &s->watch), -EEXIST);
	assert_int_equal(poller_add(&f->poller, fd, POLLER_SOCKET, &s->watch), -EPERM);
	assert_int_equal(poller_add(&f->poller, -1, POLLER_SOCKET, &s->watch), -EBADF);
	close(fd);
}

/* A descriptor table with no room for one more. */
static void test_without_descriptors_nothing_is_left_open(void **state)
{
	struct fixture *f = *state;
	struct poller another;
	struct rlimit old;
	struct rlimit none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(poller_open(&another, &f->loop), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_what_is_there_already_is_reported),
		TEST(test_each_change_is_reported_once),
		TEST(test_a_watch_is_called_again_on_request),
		TEST(test_who_asks_to_be_called_again_waits_for_the_next_round),
		TEST(test_a_request_can_be_taken_back),
		TEST(test_it_runs_the_loop_until_nothing_keeps_that_alive),
		TEST(test_what_was_removed_is_not_reported),
		TEST(test_a_closed_socket_is_not_watched_any_more),
		TEST(test_a_callback_may_close_the_socket_of_another_watch),
		TEST(test_more_than_a_round_is_reported_in_several),
		TEST(test_a_socket_that_cannot_be_watched_is_an_error),
		TEST(test_without_descriptors_nothing_is_left_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
