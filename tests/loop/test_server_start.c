/* SPDX-License-Identifier: MIT */
/* A server that cannot start says why and leaves nothing behind: the fixture counts descriptors, ASan
 * memory, and the folder must be empty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <uv.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/epoll_fault.h"
#include "loop/server_fixture.h"

#define WORKERS "\"workers\": 3, "

/* More than a start has allocations. */
#define MANY 200

/* More than a start takes. */
#define ENOUGH_DESCRIPTORS 64

static void expect_failure(struct server_fixture *f, int rv, const char *listeners,
			   const char *text)
{
	unsigned before = test_count_fds();

	assert_int_equal(server_fixture_create(f, WORKERS, listeners), rv);
	if (strstr(f->error.text, text) == NULL)
		fail_msg("%s", f->error.text);
	assert_null(f->server);
	assert_int_equal(test_count_fds(), before);
}

/* A unix socket that is opened in time, and a second listener to fail. */
static const char *two_listeners(const struct server_fixture *f, const char *second)
{
	static char text[1024];

	snprintf(text, sizeof text,
		 "{\"name\": \"one\", \"listen\": \"%s\", \"upstream\": \"APP\", "
		 "\"trusted_proxies\": [\"unix:\"]}, {\"name\": \"two\", %s, "
		 "\"trusted_proxies\": [\"127.0.0.0/8\"]}",
		 f->unix_text, second);
	return text;
}

static void test_a_port_in_use_is_named(void **state)
{
	struct server_fixture *f = *state;
	char name[TEST_PEER_NAME_MAX];
	char text[256];

	test_peer_name(&f->app, name);
	snprintf(text, sizeof text,
		 "listener \"two\": cannot listen on %s: Address already in use; ", name);
	expect_failure(f, -EADDRINUSE,
		       two_listeners(f, "\"listen\": \"APP\", \"upstream\": \"127.0.0.1:9\""),
		       text);
}

static void test_a_second_server_on_the_port_is_refused(void **state)
{
	struct server_fixture *f = *state;
	struct server *first;
	struct server *second;
	char listener[256];

	assert_int_equal(
	    server_fixture_create(f, WORKERS,
				  "{\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\", "
				  "\"trusted_proxies\": [\"127.0.0.0/8\"]}"),
	    0);
	first = f->server;
	f->server = NULL;
	snprintf(listener, sizeof listener,
		 "{\"listen\": \"127.0.0.1:%u\", \"upstream\": \"APP\", "
		 "\"trusted_proxies\": [\"127.0.0.0/8\"]}",
		 server_port(first, 0));
	server_fixture_load(f, WORKERS, listener);
	assert_int_equal(server_fixture_create_loaded(f, &second), -EADDRINUSE);
	server_destroy(first);
}

static void test_a_name_that_does_not_resolve_is_named(void **state)
{
	struct server_fixture *f = *state;
	struct listener_config *two;

	server_fixture_load(
	    f, WORKERS, two_listeners(f, "\"listen\": \"127.0.0.1:0\", \"upstream\": \"name:80\""));
	two = &f->config->listeners[1];
	for (int i = 0; i < 2; i++) {
		free(two->upstream[i].host);
		two->upstream[i].host = strdup("no..name"); /* no resolver has to be asked */
	}
	assert_true(server_fixture_create_loaded(f, &f->server) < 0);
	assert_ptr_equal(
	    strstr(f->error.text, "listener \"two\": cannot resolve upstream name:80: "),
	    f->error.text);
	assert_non_null(strstr(f->error.text, "; check the name"));
	assert_null(f->server);
}

static int threads_left = -1; /* that can be created; -1: any number */

/* The linker sends our own calls here (meson.build). */
int __real_uv_thread_create(uv_thread_t *thread, void (*entry)(void *), void *data);
int __wrap_uv_thread_create(uv_thread_t *thread, void (*entry)(void *), void *data);
int __real_uv_loop_init(uv_loop_t *loop);
int __wrap_uv_loop_init(uv_loop_t *loop);

int __wrap_uv_thread_create(uv_thread_t *thread, void (*entry)(void *), void *data)
{
	if (threads_left == 0)
		return UV_EAGAIN;
	if (threads_left > 0)
		threads_left--;
	return __real_uv_thread_create(thread, entry, data);
}

/* libuv 1.44 forgets one descriptor when it fails, and that is not what is tested here. */
int __wrap_uv_loop_init(uv_loop_t *loop)
{
	int rv;

	loop->backend_fd = -1;
	rv = __real_uv_loop_init(loop);
	if (rv != 0 && loop->backend_fd >= 0)
		close(loop->backend_fd);
	return rv;
}

static void test_a_thread_that_cannot_be_created_is_named(void **state)
{
	struct server_fixture *f = *state;

	for (int threads = 0; threads < 3; threads++) {
		threads_left = threads;
		expect_failure(
		    f, UV_EAGAIN,
		    two_listeners(f, "\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\""),
		    "cannot start a worker: resource temporarily unavailable");
	}
	threads_left = -1;
}

static void test_every_allocation_of_a_start_may_fail(void **state)
{
	struct server_fixture *f = *state;
	unsigned before;
	unsigned count;
	bool failed = true;

	server_fixture_load(f, WORKERS,
			    two_listeners(f, "\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\""));
	before = test_count_fds();
	for (count = 0; failed && count < MANY; count++) {
		int rv;

		fault_arm(count);
		rv = server_fixture_create_loaded(f, &f->server);
		failed = fault_disarm();
		if (!failed) {
			assert_int_equal(rv, 0);
			break;
		}
		assert_int_equal(rv, -ENOMEM);
		assert_memory_equal(f->error.text, "cannot start", 12);
		assert_int_equal(test_count_fds(), before);
	}
	assert_false(failed);
	assert_in_range(count, 10, MANY - 1);
}

static void test_a_socket_that_cannot_be_watched_is_an_error(void **state)
{
	struct server_fixture *f = *state;

	for (int watched = 0; watched < 3 * 2; watched++) { /* workers, listeners */
		epoll_fault_allow(watched);
		expect_failure(
		    f, -ENOSPC,
		    two_listeners(f, "\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\""),
		    "cannot start a worker: no space left on device");
	}
	epoll_fault_allow(-1);
}

/* Let only @more descriptors be opened. The server raises the limit to the hard one, so that is lowered, and only
 * the kernel's privileged can take it back. */
static void limit_descriptors(unsigned more)
{
	int next = fcntl(0, F_DUPFD, 0);
	struct rlimit limit = { .rlim_cur = (rlim_t)next + more, .rlim_max = (rlim_t)next + more };

	close(next);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* From enough of them down to one; the last test, for there is no way back. */
static void test_without_descriptors_nothing_is_left_open(void **state)
{
	struct server_fixture *f = *state;
	unsigned before;
	unsigned failures = 0;

	server_fixture_load(f, WORKERS,
			    two_listeners(f, "\"listen\": \"127.0.0.1:0\", \"upstream\": \"APP\""));
	before = test_count_fds();
	for (unsigned more = ENOUGH_DESCRIPTORS; more > 0; more--) {
		int rv;

		limit_descriptors(more);
		rv = server_fixture_create_loaded(f, &f->server);
		if (more == ENOUGH_DESCRIPTORS)
			assert_int_equal(rv, 0);
		if (rv == 0) {
			assert_int_equal(failures, 0);
			server_destroy(f->server);
			f->server = NULL;
			continue;
		}
		failures++;
		assert_int_equal(rv, -EMFILE);
		if (strstr(f->error.text, "oo many open files") == NULL)
			fail_msg("%s", f->error.text);
		assert_int_equal(test_count_fds(), before);
	}
	assert_true(failures > 6); /* sockets alone */
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, server_fixture_setup, server_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_a_port_in_use_is_named),
		TEST(test_a_second_server_on_the_port_is_refused),
		TEST(test_a_name_that_does_not_resolve_is_named),
		TEST(test_a_thread_that_cannot_be_created_is_named),
		TEST(test_a_socket_that_cannot_be_watched_is_an_error),
		TEST(test_every_allocation_of_a_start_may_fail),
		TEST(test_without_descriptors_nothing_is_left_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
