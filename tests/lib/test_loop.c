/* SPDX-License-Identifier: MIT */
#include "lib/test_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <poll.h>

#include <cmocka.h>

#include "session/poller.h"

/* What is due may make something else due, but not for ever. */
#define SETTLE_ROUNDS 1000

void test_loop_open(uv_loop_t *loop)
{
	assert_int_equal(uv_loop_init(loop), 0);
}

static void name_handle(uv_handle_t *handle, void *data)
{
	unsigned *count = data;

	print_error("left in the loop: a %s%s%s\n", uv_handle_type_name(handle->type),
		    uv_is_active(handle) ? ", active" : "",
		    uv_is_closing(handle) ? ", closing" : "");
	++*count;
}

void test_loop_close(uv_loop_t *loop)
{
	unsigned count = 0;

	uv_walk(loop, name_handle, &count);
	assert_int_equal(count, 0);
	assert_int_equal(uv_loop_close(loop), 0);
}

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

/* The poller that runs the loop, or NULL. */
static struct poller *poller_of(const uv_loop_t *loop)
{
	struct poller *p = loop->data;

	return p != NULL && p->fd >= 0 ? p : NULL;
}

/* What becomes readable when the loop has something to do. */
static int wake_fd(const uv_loop_t *loop)
{
	struct poller *p = poller_of(loop);

	return p != NULL ? p->fd : uv_backend_fd(loop);
}

/* Run what is due. Twice, for it is the second run that tells epoll about what the first one started. */
static void run_due(uv_loop_t *loop)
{
	for (unsigned i = 0; i < 2; i++) {
		uv_run(loop, UV_RUN_NOWAIT);
		if (poller_of(loop) != NULL)
			poller_turn(poller_of(loop), false);
	}
}

static bool is_due(const uv_loop_t *loop)
{
	struct pollfd wake = { .fd = wake_fd(loop), .events = POLLIN };
	struct poller *p = poller_of(loop);

	return (p != NULL && !list_is_empty(&p->again)) || poll(&wake, 1, 0) != 0;
}

/* How long may the loop wait? Its own timers count, and so does our patience. */
static int wait_ms(const uv_loop_t *loop, uint64_t until_ms)
{
	uint64_t now = now_ms();
	int patience = until_ms > now ? (int)(until_ms - now) : 0;
	int timeout;

	if (loop == NULL)
		return patience;
	if (is_due(loop))
		return 0;
	timeout = uv_backend_timeout(loop);
	return timeout < 0 || timeout > patience ? patience : timeout;
}

/* Wait for the loop, or for @fd unless it is -1. Returns what poll(2) reported for @fd. */
static short wait_for_either(uv_loop_t *loop, int fd, short events, uint64_t until_ms)
{
	struct pollfd fds[2] = {
		{ .fd = fd, .events = events },
		{ .fd = loop != NULL ? wake_fd(loop) : -1, .events = POLLIN },
	};

	poll(fds, 2, wait_ms(loop, until_ms));
	return fds[0].revents;
}

void test_loop_until(uv_loop_t *loop, test_condition is_true, void *data, const char *what)
{
	uint64_t until_ms = now_ms() + TEST_PATIENCE_MS;

	for (;;) {
		run_due(loop);
		if (is_true(data))
			return;
		if (now_ms() >= until_ms)
			fail_msg("waited in vain: %s", what);
		wait_for_either(loop, -1, 0, until_ms);
	}
}

void test_loop_until_ready(uv_loop_t *loop, int fd, short events, const char *what)
{
	uint64_t until_ms = now_ms() + TEST_PATIENCE_MS;

	for (;;) {
		if (loop != NULL)
			run_due(loop);
		if (wait_for_either(loop, fd, events, until_ms) != 0)
			return;
		if (now_ms() >= until_ms)
			fail_msg("waited in vain: %s", what);
	}
}

void test_loop_run_out(uv_loop_t *loop)
{
	uint64_t until_ms = now_ms() + TEST_PATIENCE_MS;

	for (;;) {
		run_due(loop);
		if (!uv_loop_alive(loop))
			return;
		if (now_ms() >= until_ms)
			fail_msg("the loop does not run out");
		wait_for_either(loop, -1, 0, until_ms);
	}
}

void test_loop_settle(uv_loop_t *loop)
{
	for (unsigned i = 0; i < SETTLE_ROUNDS; i++) {
		run_due(loop);
		if (!is_due(loop))
			return;
	}
	fail_msg("the loop does not come to rest");
}

/* The first loop opens what stays. */
static void warm_up(void)
{
	static bool warm;
	uv_loop_t loop;

	if (warm)
		return;
	test_loop_open(&loop);
	test_loop_close(&loop);
	warm = true;
}

unsigned test_count_fds(void)
{
	DIR *d;
	unsigned count = 0;

	warm_up();
	d = opendir("/proc/self/fd");
	assert_non_null(d);
	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count;
}
