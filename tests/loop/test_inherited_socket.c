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
#include <unistd.h>

#include <cmocka.h>

#include "conf/endpoint.h"
#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "lib/test_peer.h"
#include "obs/log.h"
#include "server/inherited_socket.h"
#include "server/listen_socket.h"

/* Sockets are passed from this descriptor on. */
#define FIRST_FD 3

#define PASSED_MAX 6

struct fixture {
	char directory[48];
	char path[64]; /* of a unix socket in it */
	char unix_text[80];
	char log_path[64];
	unsigned passed; /* descriptors */
	struct inherited_sockets sockets;
	struct inherited_claim claim;
	struct endpoint endpoint;
	char error[INHERITED_SOCKET_ERROR_MAX];
};

/* What the tests' own runner left open stands where sockets are to be passed. */
static int make_room(void **state)
{
	(void)state;
	for (int fd = FIRST_FD; fd < FIRST_FD + PASSED_MAX; fd++)
		close(fd);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->directory, "/tmp/test_inherited.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof f->path, "%s/sock", f->directory);
	snprintf(f->log_path, sizeof f->log_path, "%s/log", f->directory);
	snprintf(f->unix_text, sizeof f->unix_text, "unix:%s", f->path);
	*state = f;
	return 0;
}

static void drop_claim(struct fixture *f)
{
	for (unsigned i = 0; i < f->claim.count; i++)
		close(f->claim.fds[i]);
	free(f->claim.fds);
	f->claim = (struct inherited_claim){ .count = 0 };
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drop_claim(f);
	inherited_sockets_fini(&f->sockets, NULL);
	endpoint_fini(&f->endpoint);
	for (int fd = FIRST_FD; fd < FIRST_FD + PASSED_MAX; fd++)
		assert_int_equal(fcntl(fd, F_GETFD), -1);
	unlink(f->path);
	unlink(f->log_path);
	assert_int_equal(rmdir(f->directory), 0);
	free(f);
	return 0;
}

/* --- what is passed --- */

/* @fd becomes the next one that is passed, as after exec(2). */
static int pass(struct fixture *f, int fd)
{
	int number = FIRST_FD + (int)f->passed++;

	assert_true(f->passed <= PASSED_MAX);
	if (fd != number) {
		assert_int_equal(dup2(fd, number), number);
		close(fd);
	}
	fcntl(number, F_SETFD, 0);
	return number;
}

/* A plain one, as systemd makes it. */
static int open_tcp(const char *at)
{
	struct test_peer p;

	test_peer_listen(&p, NULL, at, 100);
	fcntl(p.fd, F_SETFL, 0);
	return p.fd;
}

static uint16_t pass_tcp(struct fixture *f, const char *at)
{
	return listen_socket_port(pass(f, open_tcp(at)));
}

/* @count sockets that share a port. */
static uint16_t pass_shared(struct fixture *f, unsigned count)
{
	int fds[PASSED_MAX];
	char why[LISTEN_SOCKET_ERROR_MAX];
	struct endpoint e = { .kind = ENDPOINT_IP };

	assert_int_equal(address_parse_ip("127.0.0.1", &e.ip), 0);
	e.text = f->path;
	assert_int_equal(listen_sockets_open(&e, count, fds, why), 0);
	for (unsigned i = 0; i < count; i++)
		pass(f, fds[i]);
	return listen_socket_port(FIRST_FD);
}

static void set_number(const char *variable, unsigned long value)
{
	char text[24];

	snprintf(text, sizeof text, "%lu", value);
	setenv(variable, text, 1);
}

static int try_take(struct fixture *f, const char *names)
{
	set_number("LISTEN_PID", (unsigned long)getpid());
	set_number("LISTEN_FDS", f->passed);
	if (names != NULL)
		setenv("LISTEN_FDNAMES", names, 1);
	return inherited_sockets_take(&f->sockets, f->error);
}

static void take(struct fixture *f, const char *names)
{
	if (try_take(f, names) != 0)
		fail_msg("%s", f->error);
}

/* --- claims --- */

static void parse(struct fixture *f, const char *at)
{
	char why[ENDPOINT_ERROR_MAX];

	endpoint_fini(&f->endpoint);
	assert_int_equal(endpoint_parse(at, false, &f->endpoint, why), 0);
}

static int try_claim(struct fixture *f, const char *at, unsigned workers)
{
	drop_claim(f);
	parse(f, at);
	return inherited_sockets_claim(&f->sockets, &f->endpoint, workers, &f->claim);
}

/* Returns how many it got. */
static unsigned claim(struct fixture *f, const char *at, unsigned workers)
{
	assert_int_equal(try_claim(f, at, workers), 0);
	return f->claim.count;
}

static unsigned claim_port(struct fixture *f, uint16_t port, unsigned workers)
{
	char at[32];

	snprintf(at, sizeof at, "127.0.0.1:%u", port);
	return claim(f, at, workers);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof value;

	assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
	return value;
}

/* Connect to @port until each of the claimed sockets was given a connection. */
static void expect_all_accept(const struct fixture *f, uint16_t port)
{
	char name[32];

	snprintf(name, sizeof name, "127.0.0.1:%u", port);
	for (unsigned i = 0; i < f->claim.count; i++) {
		struct pollfd p = { .fd = f->claim.fds[i], .events = POLLIN };

		for (unsigned tries = 0; poll(&p, 1, 0) == 0; tries++) {
			struct test_peer client;

			assert_true(tries < 1000);
			test_peer_connect(&client, NULL, name, NULL);
			test_peer_close(&client);
		}
	}
}

/* What fini says of those that are left. The caller frees. */
static char *unclaimed(struct fixture *f)
{
	char *text = calloc(1, 8192);
	struct log *log;
	int fd;

	assert_int_equal(log_create(f->log_path, LOG_TEXT, LOG_INFO, &log), 0);
	inherited_sockets_fini(&f->sockets, log_buffer_create(log));
	log_destroy(log, TEST_PATIENCE_MS);
	fd = open(f->log_path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, 8191) >= 0);
	close(fd);
	return text;
}

static void expect_unclaimed(struct fixture *f, const char *what)
{
	char *text = unclaimed(f);

	if (strstr(text, what) == NULL)
		fail_msg("\"%s\" is not in:\n%s", what, text);
	free(text);
}

/* --- the environment --- */

static void test_without_variables_there_are_none(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(inherited_sockets_take(&f->sockets, f->error), 0);
	assert_int_equal(f->sockets.count, 0);
	assert_int_equal(claim(f, "127.0.0.1:0", 2), 0);
}

static void test_those_of_another_process_are_not_ours(void **state)
{
	struct fixture *f = *state;

	pass_tcp(f, "127.0.0.1:0");
	set_number("LISTEN_PID", (unsigned long)getppid());
	set_number("LISTEN_FDS", 1);
	assert_int_equal(inherited_sockets_take(&f->sockets, f->error), 0);
	assert_int_equal(f->sockets.count, 0);
	assert_null(getenv("LISTEN_FDS"));
	close(FIRST_FD);
}

static void test_whoever_we_start_does_not_see_the_variables(void **state)
{
	struct fixture *f = *state;

	pass_tcp(f, "127.0.0.1:0");
	setenv("LISTEN_PIDFDID", "1", 1);
	take(f, "name");
	assert_null(getenv("LISTEN_PID"));
	assert_null(getenv("LISTEN_PIDFDID"));
	assert_null(getenv("LISTEN_FDS"));
	assert_null(getenv("LISTEN_FDNAMES"));
	assert_true(fcntl(FIRST_FD, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(FIRST_FD, F_GETFL) & O_NONBLOCK);
}

static void test_variables_that_are_no_numbers_are_refused(void **state)
{
	static const char *const bad[] = { "",          "-1", "1x", " 1", "99999999999999999999",
					   "2147483648" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set_number("LISTEN_PID", (unsigned long)getpid());
		setenv("LISTEN_FDS", bad[i], 1);
		assert_int_equal(inherited_sockets_take(&f->sockets, f->error), -EINVAL);
		assert_non_null(strstr(f->error, "LISTEN_FDS"));
		set_number("LISTEN_FDS", 1);
		setenv("LISTEN_PID", bad[i], 1);
		assert_int_equal(inherited_sockets_take(&f->sockets, f->error), -EINVAL);
		assert_non_null(strstr(f->error, "LISTEN_PID"));
	}
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
}

/* --- which sockets --- */

static void test_the_socket_of_a_place_is_claimed(void **state)
{
	struct fixture *f = *state;
	uint16_t port;

	pass_tcp(f, "127.0.0.2:0");
	port = pass_tcp(f, "127.0.0.1:0");
	take(f, NULL);
	assert_int_equal(claim_port(f, (uint16_t)(port + 1), 1), 0);
	assert_int_equal(claim_port(f, port, 1), 1);
	assert_int_equal(f->claim.fds[0], FIRST_FD + 1);
	expect_all_accept(f, port);
	assert_int_equal(claim_port(f, port, 1), 0); /* claim_port() has closed it */
}

static void test_port_0_is_the_first_port_at_that_address(void **state)
{
	struct fixture *f = *state;
	uint16_t port;

	pass_tcp(f, "127.0.0.2:0");
	port = pass_tcp(f, "127.0.0.1:0");
	pass_tcp(f, "127.0.0.1:0");
	take(f, NULL);
	assert_int_equal(claim(f, "127.0.0.1:0", 1), 1);
	assert_int_equal(listen_socket_port(f->claim.fds[0]), port);
	assert_int_equal(f->sockets.count, 2);
}

static void test_an_address_is_not_the_address_of_all(void **state)
{
	struct fixture *f = *state;

	pass_tcp(f, "0.0.0.0:0");
	take(f, NULL);
	assert_int_equal(claim(f, "127.0.0.1:0", 1), 0);
	assert_int_equal(claim(f, "[::]:0", 1), 0);
	assert_int_equal(claim(f, f->unix_text, 1), 0);
	assert_int_equal(claim(f, "0.0.0.0:0", 1), 1);
}

static void test_what_is_accepted_has_the_options_of_ours(void **state)
{
	struct fixture *f = *state;
	uint16_t port = pass_tcp(f, "127.0.0.1:0");

	take(f, NULL);
	assert_int_equal(claim_port(f, port, 1), 1);
	assert_int_equal(option(f->claim.fds[0], IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(f->claim.fds[0], SOL_SOCKET, SO_KEEPALIVE), 1);
}

static void test_a_unix_socket_is_claimed_by_its_path(void **state)
{
	struct fixture *f = *state;
	char other[96];

	pass(f, open_tcp(f->unix_text));
	take(f, "some.socket");
	snprintf(other, sizeof other, "%s2", f->unix_text);
	assert_int_equal(claim(f, other, 2), 0);
	assert_int_equal(claim(f, f->unix_text, 2), 2);
	assert_true(f->claim.file_stays);
}

static void test_a_socket_file_of_our_own_may_be_removed(void **state)
{
	struct fixture *f = *state;

	pass_tcp(f, "127.0.0.1:0");
	pass(f, open_tcp(f->unix_text));
	take(f, "tcp:" INHERITED_SOCKET_OWN);
	assert_int_equal(claim(f, f->unix_text, 1), 1);
	assert_false(f->claim.file_stays);
}

/* --- workers --- */

static void test_each_worker_gets_one_of_a_shared_port(void **state)
{
	struct fixture *f = *state;
	uint16_t port = pass_shared(f, 3);

	take(f, NULL);
	assert_int_equal(claim_port(f, port, 3), 3);
	expect_all_accept(f, port);
}

static void test_too_few_sockets_are_duplicated(void **state)
{
	struct fixture *f = *state;
	uint16_t port = pass_shared(f, 2);

	take(f, NULL);
	assert_int_equal(claim_port(f, port, 5), 5);
	for (unsigned i = 0; i < 5; i++)
		assert_true(fcntl(f->claim.fds[i], F_GETFD) & FD_CLOEXEC);
	expect_all_accept(f, port);
}

/* Closing one would lose what waits in it. */
static void test_more_sockets_than_workers_are_all_claimed(void **state)
{
	struct fixture *f = *state;
	uint16_t port = pass_shared(f, 4);

	take(f, NULL);
	assert_int_equal(claim_port(f, port, 2), 4);
	expect_all_accept(f, port);
}

static void test_duplicates_count_once(void **state)
{
	struct fixture *f = *state;
	uint16_t port = pass_tcp(f, "127.0.0.1:0");

	pass(f, dup(FIRST_FD));
	pass(f, dup(FIRST_FD));
	take(f, NULL);
	assert_int_equal(f->sockets.count, 1);
	assert_int_equal(claim_port(f, port, 1), 1);
}

static void test_a_paused_socket_listens_again(void **state)
{
	struct fixture *f = *state;
	uint16_t port = pass_shared(f, 2);

	for (int i = 0; i < 2; i++)
		assert_int_equal(listen_socket_pause(FIRST_FD + i), 0);
	take(f, NULL);
	assert_int_equal(claim_port(f, port, 2), 2);
	expect_all_accept(f, port);
}

/* --- what is of no use --- */

static void test_what_nobody_claims_is_named_and_closed(void **state)
{
	struct fixture *f = *state;
	char name[64];

	snprintf(name, sizeof name, "socket at 127.0.0.1:%u (web.socket)",
		 pass_tcp(f, "127.0.0.1:0"));
	take(f, "web.socket");
	expect_unclaimed(f, name);
	assert_int_equal(fcntl(FIRST_FD, F_GETFD), -1);
}

static void test_an_unclaimed_unix_socket_is_named_by_its_path(void **state)
{
	struct fixture *f = *state;

	pass(f, open_tcp(f->unix_text));
	take(f, NULL);
	expect_unclaimed(f, f->unix_text);
}

/* Nothing of these can be claimed, and each says why. */
static void expect_flaw(struct fixture *f, const char *why)
{
	take(f, "odd");
	assert_int_equal(fcntl(FIRST_FD, F_GETFD), -1);
	assert_int_equal(claim(f, "127.0.0.1:0", 1), 0);
	assert_int_equal(claim(f, f->unix_text, 1), 0);
	expect_unclaimed(f, why);
	f->passed = 0;
}

static void test_what_is_no_listening_stream_socket_is_of_no_use(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int pipe_fds[2];
	int pair[2];
	int datagram;

	f->passed = 1; /* but not open */
	expect_flaw(f, "descriptor 3 (odd) of LISTEN_FDS is of no use: it is not open");
	assert_int_equal(pipe(pipe_fds), 0);
	close(pipe_fds[1]);
	pass(f, pipe_fds[0]);
	expect_flaw(f, "no stream socket");
	datagram = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(datagram, (const struct sockaddr *)&sin, sizeof sin), 0);
	pass(f, datagram);
	expect_flaw(f, "no stream socket");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pass(f, pair[0]);
	expect_flaw(f, "is a connection");
	close(pair[1]);
	pass(f, socket(AF_INET, SOCK_STREAM, 0));
	expect_flaw(f, "does not listen");
	pass(f, socket(AF_UNIX, SOCK_STREAM, 0));
	expect_flaw(f, "does not listen");
}

/* --- shortage --- */

static void test_a_claim_that_fails_leaves_everything(void **state)
{
	struct fixture *f = *state;
	uint16_t port = pass_shared(f, 2);
	struct rlimit old;
	struct rlimit limit;
	char at[32];

	take(f, NULL);
	snprintf(at, sizeof at, "127.0.0.1:%u", port);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = (struct rlimit){ .rlim_cur = FIRST_FD + 3, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(try_claim(f, at, 4), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	fault_arm(0);
	assert_int_equal(inherited_sockets_claim(&f->sockets, &f->endpoint, 4, &f->claim), -ENOMEM);
	assert_true(fault_disarm());
	assert_int_equal(f->sockets.count, 2);
	assert_int_equal(claim_port(f, port, 4), 4);
}

static void test_without_memory_nothing_is_taken(void **state)
{
	struct fixture *f = *state;

	pass_tcp(f, "127.0.0.1:0");
	set_number("LISTEN_PID", (unsigned long)getpid());
	set_number("LISTEN_FDS", 1);
	fault_arm(0);
	assert_int_equal(inherited_sockets_take(&f->sockets, f->error), -ENOMEM);
	assert_true(fault_disarm());
	close(FIRST_FD);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_without_variables_there_are_none),
		TEST(test_those_of_another_process_are_not_ours),
		TEST(test_whoever_we_start_does_not_see_the_variables),
		TEST(test_variables_that_are_no_numbers_are_refused),
		TEST(test_the_socket_of_a_place_is_claimed),
		TEST(test_port_0_is_the_first_port_at_that_address),
		TEST(test_an_address_is_not_the_address_of_all),
		TEST(test_what_is_accepted_has_the_options_of_ours),
		TEST(test_a_unix_socket_is_claimed_by_its_path),
		TEST(test_a_socket_file_of_our_own_may_be_removed),
		TEST(test_each_worker_gets_one_of_a_shared_port),
		TEST(test_too_few_sockets_are_duplicated),
		TEST(test_more_sockets_than_workers_are_all_claimed),
		TEST(test_duplicates_count_once),
		TEST(test_a_paused_socket_listens_again),
		TEST(test_what_nobody_claims_is_named_and_closed),
		TEST(test_an_unclaimed_unix_socket_is_named_by_its_path),
		TEST(test_what_is_no_listening_stream_socket_is_of_no_use),
		TEST(test_a_claim_that_fails_leaves_everything),
		TEST(test_without_memory_nothing_is_taken),
	};

	return cmocka_run_group_tests(tests, make_room, NULL);
}
