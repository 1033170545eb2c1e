/* SPDX-License-Identifier: MIT */
#include "lib/test_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/address.h"
#include "lib/test_loop.h"

/* A name for bind(2) and connect(2). */
struct place {
	struct sockaddr_storage ss;
	socklen_t size;
};

static struct place parse_place(const char *text)
{
	struct place place = { .size = 0 };
	struct address a;
	const char *why;

	if (strncmp(text, "unix:", 5) == 0) {
		struct sockaddr_un *sun = (struct sockaddr_un *)&place.ss;

		sun->sun_family = AF_UNIX;
		assert_in_range(strlen(text + 5), 1, sizeof sun->sun_path - 1);
		strcpy(sun->sun_path, text + 5);
		place.size = sizeof *sun;
		return place;
	}
	assert_int_equal(address_parse(text, &a, &why), 0);
	place.size = address_to_sockaddr(&a, &place.ss);
	return place;
}

static int open_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static void bind_to(int fd, const struct place *place)
{
	const int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	assert_int_equal(bind(fd, (const struct sockaddr *)&place->ss, place->size), 0);
}

void test_peer_init(struct test_peer *p, uv_loop_t *loop, int fd)
{
	p->fd = fd;
	p->loop = loop;
}

void test_peer_listen(struct test_peer *p, uv_loop_t *loop, const char *at, int backlog)
{
	struct place place = parse_place(at);

	test_peer_init(p, loop, open_socket(place.ss.ss_family));
	bind_to(p->fd, &place);
	assert_int_equal(listen(p->fd, backlog), 0);
}

void test_peer_name(const struct test_peer *p, char name[static TEST_PEER_NAME_MAX])
{
	struct sockaddr_storage ss = { 0 };
	socklen_t size = sizeof ss;
	struct address a;
	char text[ADDRESS_TEXT_MAX];

	assert_int_equal(getsockname(p->fd, (struct sockaddr *)&ss, &size), 0);
	if (ss.ss_family == AF_UNIX) {
		snprintf(name, TEST_PEER_NAME_MAX, "unix:%s",
			 ((const struct sockaddr_un *)&ss)->sun_path);
		return;
	}
	address_from_sockaddr(&a, (const struct sockaddr *)&ss);
	address_format(&a, text);
	snprintf(name, TEST_PEER_NAME_MAX, "%s", text);
}

unsigned test_peer_port(const struct test_peer *p)
{
	char name[TEST_PEER_NAME_MAX];

	test_peer_name(p, name);
	return (unsigned)atoi(strrchr(name, ':') + 1);
}

void test_peer_accept(const struct test_peer *listening, struct test_peer *p)
{
	int fd;

	test_loop_until_ready(listening->loop, listening->fd, POLLIN, "a connection");
	fd = accept4(listening->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	test_peer_init(p, listening->loop, fd);
}

void test_peer_connect(struct test_peer *p, uv_loop_t *loop, const char *to, const char *from)
{
	struct place place = parse_place(to);

	test_peer_init(p, loop, open_socket(place.ss.ss_family));
	if (from != NULL) {
		struct place local = parse_place(from);

		bind_to(p->fd, &local);
	}
	if (connect(p->fd, (const struct sockaddr *)&place.ss, place.size) == 0)
		return;
	assert_int_equal(errno, EINPROGRESS);
	/* An error is left for the next step: it may be the reset that is expected. */
	test_loop_until_ready(loop, p->fd, POLLOUT, "the connection");
}

void test_peer_pair_tcp(struct test_peer *p, uv_loop_t *loop, int *ret_fd)
{
	struct test_peer listening;
	struct test_peer accepted;
	char name[TEST_PEER_NAME_MAX];

	test_peer_listen(&listening, loop, "127.0.0.1:0", 1);
	test_peer_name(&listening, name);
	test_peer_connect(p, loop, name, NULL);
	test_peer_accept(&listening, &accepted);
	test_peer_close(&listening);
	*ret_fd = accepted.fd;
}

void test_peer_pair_unix(struct test_peer *p, uv_loop_t *loop, int *ret_fd)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	test_peer_init(p, loop, fds[0]);
	*ret_fd = fds[1];
}

size_t test_peer_send_some(const struct test_peer *p, const void *data, size_t size)
{
	ssize_t n = send(p->fd, data, size, MSG_NOSIGNAL);

	if (n >= 0)
		return (size_t)n;
	if (errno != EAGAIN)
		fail_msg("cannot send: %s", strerror(errno));
	return 0;
}

void test_peer_send(const struct test_peer *p, const void *data, size_t size)
{
	const uint8_t *at = data;

	while (size > 0) {
		size_t n = test_peer_send_some(p, at, size);

		if (n == 0)
			test_loop_until_ready(p->loop, p->fd, POLLOUT, "room to send");
		at += n;
		size -= n;
	}
}

void test_peer_send_text(const struct test_peer *p, const char *text)
{
	test_peer_send(p, text, strlen(text));
}

size_t test_peer_receive_some(const struct test_peer *p, void *data, size_t size)
{
	ssize_t n = recv(p->fd, data, size, 0);

	if (n == 0)
		fail_msg("the stream ends early");
	if (n < 0 && errno != EAGAIN)
		fail_msg("cannot receive: %s", strerror(errno));
	return n > 0 ? (size_t)n : 0;
}

void test_peer_receive(const struct test_peer *p, void *data, size_t size)
{
	uint8_t *at = data;

	while (size > 0) {
		size_t n;

		test_loop_until_ready(p->loop, p->fd, POLLIN, "bytes");
		n = test_peer_receive_some(p, at, size);
		at += n;
		size -= n;
	}
}

void test_peer_expect(const struct test_peer *p, const void *data, size_t size)
{
	const uint8_t *at = data;
	uint8_t received[4096]; /* no malloc(): allocations may be failing on purpose */

	while (size > 0) {
		size_t part = size < sizeof received ? size : sizeof received;

		test_peer_receive(p, received, part);
		assert_memory_equal(received, at, part);
		at += part;
		size -= part;
	}
}

void test_peer_expect_text(const struct test_peer *p, const char *text)
{
	test_peer_expect(p, text, strlen(text));
}

/* Wait for the end of the stream. Returns 0 for FIN, or what recv(2) says. */
static int wait_for_end(const struct test_peer *p, const char *what)
{
	char byte;
	ssize_t n;

	test_loop_until_ready(p->loop, p->fd, POLLIN, what);
	n = recv(p->fd, &byte, 1, 0);
	if (n > 0)
		fail_msg("a byte came instead of %s: 0x%02x", what, (unsigned char)byte);
	return n == 0 ? 0 : errno;
}

void test_peer_expect_end(const struct test_peer *p)
{
	assert_int_equal(wait_for_end(p, "FIN"), 0);
}

void test_peer_expect_reset(const struct test_peer *p)
{
	assert_int_equal(wait_for_end(p, "a reset"), ECONNRESET);
}

void test_peer_shutdown(const struct test_peer *p)
{
	assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
}

void test_peer_reset(struct test_peer *p)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	test_peer_close(p);
}

void test_peer_close(struct test_peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}
