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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/endpoint.h"
#include "lib/test_loop.h"
#include "lib/test_peer.h"
#include "server/listen_socket.h"

#define WORKERS 4

#define NOBODY 65534

struct fixture {
	char directory[48];
	char path[64]; /* of a unix socket in it */
	char unix_text[80];
	struct endpoint endpoint;
	int fds[WORKERS];
	unsigned count; /* of open ones */
	unsigned fds_before;
	char error[LISTEN_SOCKET_ERROR_MAX];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->directory, "/tmp/test_listen_socket.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof f->path, "%s/sock", f->directory);
	snprintf(f->unix_text, sizeof f->unix_text, "unix:%s", f->path);
	f->fds_before = test_count_fds();
	*state = f;
	return 0;
}

static void close_all(struct fixture *f)
{
	while (f->count > 0)
		close(f->fds[--f->count]);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_all(f);
	assert_int_equal(test_count_fds(), f->fds_before);
	endpoint_fini(&f->endpoint);
	unlink(f->path);
	assert_int_equal(rmdir(f->directory), 0);
	free(f);
	return 0;
}

static int try_open(struct fixture *f, const char *text, unsigned count)
{
	char why[ENDPOINT_ERROR_MAX];
	int rv;

	endpoint_fini(&f->endpoint);
	assert_int_equal(endpoint_parse(text, false, &f->endpoint, why), 0);
	rv = listen_sockets_open(&f->endpoint, count, f->fds, f->error);
	if (rv == 0)
		f->count = count;
	return rv;
}

static void open_sockets(struct fixture *f, const char *text, unsigned count)
{
	if (try_open(f, text, count) != 0)
		fail_msg("%s", f->error);
}

/* It cannot be opened, and the text says why and what to do. */
static void expect_error(struct fixture *f, const char *text, int error, const char *remedy)
{
	char start[LISTEN_SOCKET_ERROR_MAX];

	assert_int_equal(try_open(f, text, WORKERS), error);
	snprintf(start, sizeof start, "cannot listen on %s: %s; ", text, strerror(-error));
	assert_memory_equal(f->error, start, strlen(start));
	assert_non_null(strstr(f->error + strlen(start), remedy));
	assert_int_equal(test_count_fds(), f->fds_before);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof value;

	assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
	return value;
}

/* --- TCP --- */

static void test_port_0_is_the_same_port_for_all(void **state)
{
	struct fixture *f = *state;
	uint16_t port;

	open_sockets(f, "127.0.0.1:0", WORKERS);
	port = listen_socket_port(f->fds[0]);
	assert_int_not_equal(port, 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_int_equal(listen_socket_port(f->fds[i]), port);
		assert_true(fcntl(f->fds[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(f->fds[i], F_GETFD) & FD_CLOEXEC);
		assert_int_equal(option(f->fds[i], SOL_SOCKET, SO_ACCEPTCONN), 1);
	}
}

static void test_a_single_socket_shares_with_nobody(void **state)
{
	struct fixture *f = *state;

	open_sockets(f, "127.0.0.1:0", 1);
	assert_int_equal(option(f->fds[0], SOL_SOCKET, SO_REUSEPORT), 0);
}

/* Connect to all of the sockets. Returns the accepted one. */
static int connect_to(struct fixture *f, const char *to, struct test_peer *client)
{
	struct pollfd fds[WORKERS];
	int accepted = -1;

	test_peer_connect(client, NULL, to, NULL);
	for (unsigned i = 0; i < f->count; i++)
		fds[i] = (struct pollfd){ .fd = f->fds[i], .events = POLLIN };
	assert_int_equal(poll(fds, f->count, 20000), 1);
	for (unsigned i = 0; i < f->count; i++)
		if (fds[i].revents != 0)
			accepted = accept4(fds[i].fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(accepted >= 0);
	return accepted;
}

static void test_accepted_sockets_inherit_their_options(void **state)
{
	struct fixture *f = *state;
	struct test_peer client;
	char name[32];
	int accepted;

	open_sockets(f, "127.0.0.1:0", WORKERS);
	snprintf(name, sizeof name, "127.0.0.1:%u", listen_socket_port(f->fds[0]));
	accepted = connect_to(f, name, &client);
	assert_int_equal(option(accepted, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(accepted, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(accepted, IPPROTO_TCP, TCP_KEEPIDLE),
			 60); /* gone after two minutes */
	assert_int_equal(option(accepted, IPPROTO_TCP, TCP_KEEPINTVL), 15);
	assert_int_equal(option(accepted, IPPROTO_TCP, TCP_KEEPCNT), 4);
	close(accepted);
	test_peer_close(&client);
}

static bool has_ipv6(void)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool usable = fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof any) == 0;

	if (fd >= 0)
		close(fd);
	return usable;
}

static void test_all_of_ipv6_takes_ipv4_as_well(void **state)
{
	struct fixture *f = *state;
	struct test_peer client;
	char name[32];

	if (!has_ipv6())
		skip();
	open_sockets(f, "[::]:0", 2);
	snprintf(name, sizeof name, "127.0.0.1:%u", listen_socket_port(f->fds[0]));
	close(connect_to(f, name, &client));
	test_peer_close(&client);
}

static void test_a_port_in_use_is_refused(void **state)
{
	struct fixture *f = *state;
	struct test_peer other;
	char name[TEST_PEER_NAME_MAX];

	test_peer_listen(&other, NULL, "127.0.0.1:0", 1);
	test_peer_name(&other, name);
	f->fds_before++;
	expect_error(f, name, -EADDRINUSE, "ss -ltnp");
	f->fds_before--;
	test_peer_close(&other);
}

/* A second unproxy would take half of the connections, and the kernel would let it. */
static void test_a_port_that_is_shared_already_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fixture second = { .fds_before = 0 };
	char name[32];

	open_sockets(f, "127.0.0.1:0", WORKERS);
	snprintf(name, sizeof name, "127.0.0.1:%u", listen_socket_port(f->fds[0]));
	second.fds_before = f->fds_before + WORKERS;
	expect_error(&second, name, -EADDRINUSE, "another program");
	endpoint_fini(&second.endpoint);
}

static void test_an_address_of_another_host_is_refused(void **state)
{
	expect_error(*state, "192.0.2.1:0", -EADDRNOTAVAIL, "ip address");
}

static void test_a_port_is_free_again_after_its_connections(void **state)
{
	struct fixture *f = *state;
	struct test_peer client;
	char name[32];

	open_sockets(f, "127.0.0.1:0", 1);
	snprintf(name, sizeof name, "127.0.0.1:%u", listen_socket_port(f->fds[0]));
	close(connect_to(f, name, &client)); /* TIME_WAIT stays at our end */
	test_peer_expect_end(&client);
	test_peer_close(&client);
	close_all(f);
	open_sockets(f, name, WORKERS);
}

/* --- paused --- */

/* Try to connect; whoever listens answers at once. Returns 0 or an errno. */
static int connect_error(uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int rv = connect(fd, (const struct sockaddr *)&sin, sizeof sin) == 0 ? 0 : errno;

	close(fd);
	return rv;
}

/* Connect until the socket @fd was given a connection. */
static void expect_share(int fd, uint16_t port)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned tries = 0;

	while (poll(&p, 1, 0) == 0) {
		assert_true(++tries < 1000);
		assert_int_equal(connect_error(port), 0);
	}
}

static void test_a_paused_port_refuses_and_comes_back(void **state)
{
	struct fixture *f = *state;

	for (unsigned count = 1; count <= WORKERS; count += WORKERS - 1) {
		uint16_t port;

		open_sockets(f, "127.0.0.1:0", count);
		port = listen_socket_port(f->fds[0]);
		for (unsigned times = 0; times < 3; times++) {
			for (unsigned i = 0; i < count; i++)
				assert_int_equal(listen_socket_pause(f->fds[i]), 0);
			assert_int_equal(connect_error(port), ECONNREFUSED);
			assert_int_equal(listen_socket_port(f->fds[0]), port);
			for (unsigned i = 0; i < count; i++)
				assert_int_equal(listen_socket_resume(f->fds[i]), 0);
			assert_int_equal(connect_error(port), 0);
		}
		for (unsigned i = 0; i < count; i++)
			expect_share(f->fds[i], port);
		close_all(f);
	}
}

/* Workers may share one socket, and each pauses and resumes it. */
static void test_pausing_and_resuming_twice_is_once(void **state)
{
	struct fixture *f = *state;
	struct test_peer client;
	char name[32];
	char byte;
	int accepted;
	uint16_t port;

	open_sockets(f, "127.0.0.1:0", 1);
	port = listen_socket_port(f->fds[0]);
	assert_int_equal(listen_socket_pause(f->fds[0]), 0);
	assert_int_equal(listen_socket_pause(f->fds[0]), 0);
	assert_int_equal(connect_error(port), ECONNREFUSED);
	assert_int_equal(listen_socket_resume(f->fds[0]), 0);
	assert_int_equal(listen_socket_resume(f->fds[0]), 0);
	snprintf(name, sizeof name, "127.0.0.1:%u", port);
	accepted = connect_to(f, name, &client);
	test_peer_send_text(&client, "x");
	assert_int_equal(recv(accepted, &byte, 1, 0), 1);
	close(accepted);
	test_peer_close(&client);
}

static void test_the_others_serve_while_one_is_paused(void **state)
{
	struct fixture *f = *state;
	uint16_t port;

	open_sockets(f, "127.0.0.1:0", WORKERS);
	port = listen_socket_port(f->fds[0]);
	assert_int_equal(listen_socket_pause(f->fds[0]), 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(connect_error(port), 0);
}

/* Established connections live on, and neither they nor those in TIME_WAIT are in the way of coming back. */
static void test_connections_outlive_a_pause(void **state)
{
	struct fixture *f = *state;
	struct test_peer client;
	struct test_peer ended;
	char name[32];
	char byte = 'x';
	int accepted;

	open_sockets(f, "127.0.0.1:0", 1);
	snprintf(name, sizeof name, "127.0.0.1:%u", listen_socket_port(f->fds[0]));
	close(connect_to(f, name, &ended));
	test_peer_expect_end(&ended);
	test_peer_close(&ended);
	accepted = connect_to(f, name, &client);
	assert_int_equal(listen_socket_pause(f->fds[0]), 0);
	assert_int_equal(write(accepted, &byte, 1), 1);
	test_peer_expect(&client, "x", 1);
	assert_int_equal(listen_socket_resume(f->fds[0]), 0);
	assert_int_equal(write(accepted, &byte, 1), 1);
	test_peer_expect(&client, "x", 1);
	close(accepted);
	test_peer_close(&client);
}

static void test_nobody_takes_a_paused_port(void **state)
{
	struct fixture *f = *state;
	struct fixture thief = { .fds_before = 0 };
	char name[32];

	open_sockets(f, "127.0.0.1:0", 1);
	snprintf(name, sizeof name, "127.0.0.1:%u", listen_socket_port(f->fds[0]));
	assert_int_equal(listen_socket_pause(f->fds[0]), 0);
	thief.fds_before = f->fds_before + 1;
	expect_error(&thief, name, -EADDRINUSE, "another program");
	endpoint_fini(&thief.endpoint);
	assert_int_equal(listen_socket_resume(f->fds[0]), 0);
}

static void test_what_cannot_be_paused_says_so(void **state)
{
	struct fixture *f = *state;
	int pipe_fds[2];

	open_sockets(f, "127.0.0.1:0", 1);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(listen_socket_pause(pipe_fds[0]), -ENOTSOCK);
	assert_int_equal(listen_socket_resume(pipe_fds[0]), -ENOTSOCK);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

/* --- descriptors --- */

/* Let only @more descriptors be opened. */
static void limit_descriptors(unsigned more, struct rlimit *old)
{
	int next = fcntl(0, F_DUPFD, 0);
	struct rlimit limit;

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, old), 0);
	limit = (struct rlimit){ .rlim_cur = (rlim_t)next + more, .rlim_max = old->rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_without_descriptors_nothing_is_left_open(void **state)
{
	struct fixture *f = *state;
	const char *const texts[] = { "127.0.0.1:0", f->unix_text };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		for (unsigned more = 0; more < WORKERS; more++) {
			struct rlimit old;
			int rv;

			limit_descriptors(more, &old);
			rv = try_open(f, texts[i], WORKERS);
			assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
			assert_int_equal(rv, -EMFILE);
			assert_non_null(strstr(f->error, "ulimit -n"));
			assert_int_equal(test_count_fds(), f->fds_before);
			assert_int_equal(access(f->path, F_OK), -1);
		}
	}
}

/* --- unix sockets --- */

static void test_workers_share_a_unix_socket(void **state)
{
	struct fixture *f = *state;
	struct test_peer client;

	open_sockets(f, f->unix_text, WORKERS);
	test_peer_connect(&client, NULL, f->unix_text, NULL);
	for (unsigned i = 0; i < WORKERS; i++) {
		struct pollfd p = { .fd = f->fds[i], .events = POLLIN };

		assert_int_equal(poll(&p, 1, 20000), 1);
		assert_int_equal(listen_socket_port(f->fds[i]), 0);
		assert_true(fcntl(f->fds[i], F_GETFD) & FD_CLOEXEC);
	}
	test_peer_close(&client);
}

/* Of a program that was killed. */
static void test_a_socket_file_that_nobody_answers_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct test_peer killed;
	struct test_peer client;

	test_peer_listen(&killed, NULL, f->unix_text, 1);
	test_peer_close(&killed);
	assert_int_equal(access(f->path, F_OK), 0);
	open_sockets(f, f->unix_text, 1);
	close(connect_to(f, f->unix_text, &client));
	test_peer_close(&client);
}

static void test_a_socket_file_in_use_is_refused(void **state)
{
	struct fixture *f = *state;
	struct test_peer other;
	struct test_peer client;

	test_peer_listen(&other, NULL, f->unix_text, 1);
	f->fds_before++;
	expect_error(f, f->unix_text, -EADDRINUSE, "another program");
	test_peer_connect(&client, NULL, f->unix_text, NULL); /* it still has its file */
	f->fds_before++;
	expect_error(f, f->unix_text, -EADDRINUSE,
		     "another program"); /* also with a full backlog */
	f->fds_before -= 2;
	test_peer_close(&client);
	test_peer_close(&other);
}

static void test_a_socket_of_another_type_is_refused(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	strcpy(sun.sun_path, f->path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof sun), 0);
	f->fds_before++;
	expect_error(f, f->unix_text, -EADDRINUSE, "another program");
	f->fds_before--;
	close(fd);
	assert_int_equal(access(f->path, F_OK), 0);
}

static void test_a_file_in_the_way_is_left_alone(void **state)
{
	struct fixture *f = *state;

	close(open(f->path, O_CREAT | O_WRONLY, 0600));
	expect_error(f, f->unix_text, -EEXIST, "no socket");
	unlink(f->path);
	assert_int_equal(symlink("/nonexistent", f->path), 0);
	expect_error(f, f->unix_text, -EEXIST, "no socket");
	unlink(f->path);
	assert_int_equal(mkdir(f->path, 0700), 0);
	expect_error(f, f->unix_text, -EEXIST, "no socket");
	assert_int_equal(rmdir(f->path), 0);
}

static void test_a_folder_that_does_not_exist_is_named(void **state)
{
	expect_error(*state, "unix:/nonexistent/sock", -ENOENT, "folder does not exist");
}

static void test_a_folder_that_is_not_ours_is_named(void **state)
{
	struct fixture *f = *state;
	uid_t user = geteuid();

	assert_int_equal(chmod(f->directory, 0555), 0);
	if (user == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	expect_error(f, f->unix_text, -EACCES, "a writable folder");
	assert_int_equal(seteuid(user), 0);
	assert_int_equal(chmod(f->directory, 0700), 0);
}

static void test_a_socket_file_can_be_taken_away(void **state)
{
	struct fixture *f = *state;

	open_sockets(f, f->unix_text, 1);
	listen_socket_unlink(&f->endpoint);
	assert_int_equal(access(f->path, F_OK), -1);
	listen_socket_unlink(&f->endpoint);
	close_all(f);
	open_sockets(f, "127.0.0.1:0", 1);
	listen_socket_unlink(&f->endpoint);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_port_0_is_the_same_port_for_all),
		TEST(test_a_single_socket_shares_with_nobody),
		TEST(test_accepted_sockets_inherit_their_options),
		TEST(test_all_of_ipv6_takes_ipv4_as_well),
		TEST(test_a_port_in_use_is_refused),
		TEST(test_a_port_that_is_shared_already_is_refused),
		TEST(test_an_address_of_another_host_is_refused),
		TEST(test_a_port_is_free_again_after_its_connections),
		TEST(test_a_paused_port_refuses_and_comes_back),
		TEST(test_pausing_and_resuming_twice_is_once),
		TEST(test_the_others_serve_while_one_is_paused),
		TEST(test_connections_outlive_a_pause),
		TEST(test_nobody_takes_a_paused_port),
		TEST(test_what_cannot_be_paused_says_so),
		TEST(test_without_descriptors_nothing_is_left_open),
		TEST(test_workers_share_a_unix_socket),
		TEST(test_a_socket_file_that_nobody_answers_is_replaced),
		TEST(test_a_socket_file_in_use_is_refused),
		TEST(test_a_socket_of_another_type_is_refused),
		TEST(test_a_file_in_the_way_is_left_alone),
		TEST(test_a_folder_that_does_not_exist_is_named),
		TEST(test_a_folder_that_is_not_ours_is_named),
		TEST(test_a_socket_file_can_be_taken_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
