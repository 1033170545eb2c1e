/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/endpoint.h"
#include "lib/test_loop.h"
#include "lib/test_peer.h"
#include "session/upstream.h"

/* No resolver has to be asked to know that this is no name. */
#define BAD_NAME "no..name:80"

/* Threads of libuv's pool, which resolve names. */
#define POOL_THREADS 4

struct fixture {
	uv_loop_t loop;
	char directory[32];
	char path[48]; /* of a unix socket in it */
	char unix_text[64];
	struct endpoint endpoint;
	struct upstream upstream;
	unsigned answers;
	int status; /* of the last answer */
	unsigned fds_before;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->fds_before = test_count_fds();
	strcpy(f->directory, "/tmp/test_upstream.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof f->path, "%s/app.sock", f->directory);
	snprintf(f->unix_text, sizeof f->unix_text, "unix:%s", f->path);
	test_loop_open(&f->loop);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	test_loop_run_out(&f->loop);
	test_loop_close(&f->loop);
	assert_int_equal(test_count_fds(), f->fds_before);
	endpoint_fini(&f->endpoint);
	unlink(f->path);
	rmdir(f->directory);
	free(f);
	return 0;
}

static void parse_endpoint(struct fixture *f, const char *text)
{
	char why[ENDPOINT_ERROR_MAX];

	endpoint_fini(&f->endpoint);
	assert_int_equal(endpoint_parse(text, true, &f->endpoint, why), 0);
}

/* The name is no valid one, so no parser would let it pass. */
static void set_bad_name(struct fixture *f)
{
	parse_endpoint(f, "name:80");
	free(f->endpoint.host);
	f->endpoint.host = strdup(BAD_NAME);
}

static void open_upstream(struct fixture *f, const char *text)
{
	struct upstream_addresses addresses;

	parse_endpoint(f, text);
	assert_int_equal(upstream_addresses_find(&f->endpoint, &f->loop, &addresses), 0);
	upstream_init(&f->upstream, &f->endpoint, &addresses, f);
}

/* An upstream that knows one address, which is not what its name says. */
static void open_stale_upstream(struct fixture *f)
{
	const struct upstream_addresses stale = {
		.count = 1, .list[0] = { .family = AF_INET, .port = 9, .ip = { 127, 9, 9, 9 } }
	};

	upstream_init(&f->upstream, &f->endpoint, &stale, f);
}

static void on_resolved(struct upstream *u, int status)
{
	struct fixture *f = u->data;

	f->answers++;
	f->status = status;
}

static bool has_answer(void *data)
{
	return ((const struct fixture *)data)->answers > 0;
}

/* Connect to the only address and see it through. */
static int connect_whole(const struct fixture *f)
{
	struct pollfd p = { .events = POLLOUT };
	int rv = upstream_connect(&f->upstream, 0, &p.fd);

	assert_in_range(rv, 0, 1);
	assert_int_equal(poll(&p, 1, TEST_PATIENCE_MS), 1);
	assert_false(p.revents & (POLLERR | POLLHUP));
	return p.fd;
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof value;

	assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
	return value;
}

/* --- addresses --- */

static void test_an_address_is_its_own_only_one(void **state)
{
	struct fixture *f = *state;
	struct upstream_addresses found;

	parse_endpoint(f, "[2001:db8::1]:5432");
	assert_int_equal(upstream_addresses_find(&f->endpoint, &f->loop, &found), 0);
	assert_int_equal(found.count, 1);
	assert_memory_equal(&found.list[0], &f->endpoint.ip, sizeof found.list[0]);
}

static void test_a_unix_socket_has_one_address_without_ip(void **state)
{
	struct fixture *f = *state;
	struct upstream_addresses found;

	parse_endpoint(f, f->unix_text);
	assert_int_equal(upstream_addresses_find(&f->endpoint, &f->loop, &found), 0);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.list[0].family, AF_UNIX);
}

static void assert_are_of_localhost(const struct upstream_addresses *a, uint16_t port)
{
	assert_in_range(a->count, 1, UPSTREAM_ADDRESSES_MAX);
	for (unsigned i = 0; i < a->count; i++) {
		assert_true(address_is_loopback(&a->list[i]));
		assert_int_equal(a->list[i].port, port);
	}
}

static void test_a_name_is_resolved_with_its_port(void **state)
{
	struct fixture *f = *state;
	struct upstream_addresses found;

	parse_endpoint(f, "localhost:5432");
	assert_int_equal(upstream_addresses_find(&f->endpoint, &f->loop, &found), 0);
	assert_are_of_localhost(&found, 5432);
}

static void test_what_is_no_name_has_no_addresses(void **state)
{
	struct fixture *f = *state;
	struct upstream_addresses found;

	set_bad_name(f);
	assert_true(upstream_addresses_find(&f->endpoint, &f->loop, &found) < 0);
	assert_int_equal(found.count, 0);
}

/* --- the resolver --- */

static void test_a_name_can_be_resolved_again_without_waiting(void **state)
{
	struct fixture *f = *state;

	parse_endpoint(f, "localhost:5432");
	open_stale_upstream(f);
	assert_int_equal(upstream_resolve(&f->upstream, &f->loop, on_resolved), 0);
	assert_int_equal(f->answers, 0);
	test_loop_until(&f->loop, has_answer, f, "the resolver");
	assert_int_equal(f->status, 0);
	assert_are_of_localhost(&f->upstream.addresses, 5432);
}

static void test_questions_at_the_same_time_are_one(void **state)
{
	struct fixture *f = *state;

	parse_endpoint(f, "localhost:5432");
	open_stale_upstream(f);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(upstream_resolve(&f->upstream, &f->loop, on_resolved), 0);
	test_loop_run_out(&f->loop);
	assert_int_equal(f->answers, 1);
	assert_int_equal(upstream_resolve(&f->upstream, &f->loop, on_resolved), 0);
	test_loop_run_out(&f->loop);
	assert_int_equal(f->answers, 2);
}

static void test_after_a_failure_the_old_addresses_stay(void **state)
{
	struct fixture *f = *state;

	set_bad_name(f);
	open_stale_upstream(f);
	assert_int_equal(upstream_resolve(&f->upstream, &f->loop, on_resolved), 0);
	test_loop_run_out(&f->loop);
	assert_int_equal(f->answers, 1);
	assert_true(f->status < 0);
	assert_int_equal(f->upstream.addresses.count, 1);
	assert_int_equal(f->upstream.addresses.list[0].port, 9);
}

static void test_a_question_that_cannot_be_asked_has_no_answer(void **state)
{
	struct fixture *f = *state;

	parse_endpoint(f, "name:80");
	free(f->endpoint.host);
	f->endpoint.host = calloc(1, 400);
	memset(f->endpoint.host, 'a', 399);
	open_stale_upstream(f);
	assert_true(upstream_resolve(&f->upstream, &f->loop, on_resolved) < 0);
	assert_false(f->upstream.resolving);
	test_loop_run_out(&f->loop);
	assert_int_equal(f->answers, 0);
}

static uv_sem_t blocked;

static void block(uv_work_t *work)
{
	(void)work;
	uv_sem_wait(&blocked);
}

/* All threads of the pool are busy, so the question waits and can be taken back. */
static void test_a_question_can_be_given_up(void **state)
{
	struct fixture *f = *state;
	uv_work_t busy[POOL_THREADS];

	assert_int_equal(uv_sem_init(&blocked, 0), 0);
	for (unsigned i = 0; i < POOL_THREADS; i++)
		assert_int_equal(uv_queue_work(&f->loop, &busy[i], block, NULL), 0);
	parse_endpoint(f, "localhost:5432");
	open_stale_upstream(f);
	upstream_stop(&f->upstream); /* there is none yet */
	assert_int_equal(upstream_resolve(&f->upstream, &f->loop, on_resolved), 0);
	upstream_stop(&f->upstream);
	test_loop_until(&f->loop, has_answer, f, "the end of the question");
	assert_int_equal(f->status, UV_EAI_CANCELED);
	assert_int_equal(f->upstream.addresses.list[0].port, 9);
	for (unsigned i = 0; i < POOL_THREADS; i++)
		uv_sem_post(&blocked);
	test_loop_run_out(&f->loop);
	uv_sem_destroy(&blocked);
}

/* --- connecting --- */

static void test_a_tcp_upstream_is_connected_to(void **state)
{
	struct fixture *f = *state;
	struct test_peer app;
	struct test_peer accepted;
	char name[TEST_PEER_NAME_MAX];
	int fd;

	test_peer_listen(&app, &f->loop, "127.0.0.1:0", 1);
	test_peer_name(&app, name);
	open_upstream(f, name);
	fd = connect_whole(f);
	test_peer_accept(&app, &accepted);
	assert_int_equal(write(fd, "hello", 5), 5);
	test_peer_expect_text(&accepted, "hello");
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0); /* our own kernel tells */
	close(fd);
	test_peer_expect_end(&accepted);
	test_peer_close(&accepted);
	test_peer_close(&app);
}

static void test_a_port_where_nobody_listens_refuses(void **state)
{
	struct fixture *f = *state;
	struct test_peer app;
	char name[TEST_PEER_NAME_MAX];
	struct pollfd p = { .fd = -1, .events = POLLOUT };
	int rv;

	test_peer_listen(&app, &f->loop, "127.0.0.1:0", 1);
	test_peer_name(&app, name);
	test_peer_close(&app);
	open_upstream(f, name);
	rv = upstream_connect(&f->upstream, 0, &p.fd);
	if (rv == 1) { /* the answer was a moment too late for connect(2) */
		assert_int_equal(poll(&p, 1, TEST_PATIENCE_MS), 1);
		rv = -option(p.fd, SOL_SOCKET, SO_ERROR);
		close(p.fd);
	}
	assert_int_equal(rv, -ECONNREFUSED);
}

static void test_a_unix_upstream_is_connected_to_at_once(void **state)
{
	struct fixture *f = *state;
	struct test_peer app;
	struct test_peer accepted;
	int fd = -1;

	test_peer_listen(&app, &f->loop, f->unix_text, 1);
	open_upstream(f, f->unix_text);
	assert_int_equal(upstream_connect(&f->upstream, 0, &fd), 0);
	test_peer_accept(&app, &accepted);
	close(fd);
	test_peer_expect_end(&accepted);
	test_peer_close(&accepted);
	test_peer_close(&app);
}

static void test_a_unix_socket_that_is_missing_or_left_behind_refuses(void **state)
{
	struct fixture *f = *state;
	struct test_peer app;
	int fd = -1;

	open_upstream(f, f->unix_text);
	assert_int_equal(upstream_connect(&f->upstream, 0, &fd), -ENOENT);
	test_peer_listen(&app, &f->loop, f->unix_text, 1);
	test_peer_close(&app);
	assert_int_equal(upstream_connect(&f->upstream, 0, &fd), -ECONNREFUSED);
	assert_int_equal(fd, -1);
}

static void test_a_unix_socket_with_a_full_backlog_says_so(void **state)
{
	struct fixture *f = *state;
	struct test_peer app;
	int fds[8];
	unsigned count = 0;
	int rv;

	test_peer_listen(&app, &f->loop, f->unix_text, 1);
	open_upstream(f, f->unix_text);
	do {
		assert_true(count < ARRAY_SIZE(fds));
		rv = upstream_connect(&f->upstream, 0, &fds[count]);
	} while (rv == 0 && count++ < ARRAY_SIZE(fds));
	assert_int_equal(rv, -EAGAIN);
	while (count > 0)
		close(fds[--count]);
	test_peer_close(&app);
}

static void test_the_longest_path_is_connected_to(void **state)
{
	struct fixture *f = *state;
	char text[5 + 107 + 1];
	char old[64];
	struct test_peer app;
	int fd = -1;

	/* …/////app.sock */
	memset(text, '/', sizeof text - 1);
	memcpy(text, "unix:", 5);
	memcpy(text + 5, f->directory, strlen(f->directory));
	memcpy(text + sizeof text - 1 - strlen("app.sock"), "app.sock", strlen("app.sock") + 1);
	snprintf(old, sizeof old, "%s", f->unix_text);
	test_peer_listen(&app, &f->loop, old, 1);
	open_upstream(f, text);
	assert_int_equal(strlen(f->endpoint.path), 107);
	assert_int_equal(upstream_connect(&f->upstream, 0, &fd), 0);
	close(fd);
	test_peer_close(&app);
}

static void test_without_descriptors_there_is_no_socket(void **state)
{
	struct fixture *f = *state;
	struct rlimit old;
	struct rlimit none;
	int fd = -1;

	open_upstream(f, "127.0.0.1:9");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(upstream_connect(&f->upstream, 0, &fd), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_an_address_is_its_own_only_one),
		TEST(test_a_unix_socket_has_one_address_without_ip),
		TEST(test_a_name_is_resolved_with_its_port),
		TEST(test_what_is_no_name_has_no_addresses),
		TEST(test_a_name_can_be_resolved_again_without_waiting),
		TEST(test_questions_at_the_same_time_are_one),
		TEST(test_after_a_failure_the_old_addresses_stay),
		TEST(test_a_question_that_cannot_be_asked_has_no_answer),
		TEST(test_a_question_can_be_given_up),
		TEST(test_a_tcp_upstream_is_connected_to),
		TEST(test_a_port_where_nobody_listens_refuses),
		TEST(test_a_unix_upstream_is_connected_to_at_once),
		TEST(test_a_unix_socket_that_is_missing_or_left_behind_refuses),
		TEST(test_a_unix_socket_with_a_full_backlog_says_so),
		TEST(test_the_longest_path_is_connected_to),
		TEST(test_without_descriptors_there_is_no_socket),
	};

	setenv("UV_THREADPOOL_SIZE", "4", 1); /* POOL_THREADS */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
