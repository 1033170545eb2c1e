/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/address.h"
#include "base/socket.h"

static const struct address loopback = { .family = AF_INET, .ip = { 127, 0, 0, 1 } };

static int listen_on_loopback(struct address *ret)
{
	struct sockaddr_storage ss;
	socklen_t size = address_to_sockaddr(&loopback, &ss);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&ss, size), 0);
	assert_int_equal(listen(fd, 1), 0);
	socket_local_address(fd, ret);
	return fd;
}

static int connect_to(const struct address *a, int flags)
{
	struct sockaddr_storage ss;
	socklen_t size = address_to_sockaddr(a, &ss);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	int rv = connect(fd, (const struct sockaddr *)&ss, size);

	assert_true(rv == 0 || (flags != 0 && errno == EINPROGRESS));
	return fd;
}

static void test_the_address_is_the_one_it_is_bound_to(void **state)
{
	struct address a;
	int fd = listen_on_loopback(&a);

	(void)state;
	assert_true(address_same_ip(&a, &loopback));
	assert_int_not_equal(a.port, 0);
	close(fd);
}

static void test_what_is_no_socket_has_no_address(void **state)
{
	struct address a = loopback;

	(void)state;
	socket_local_address(-1, &a);
	assert_int_equal(a.family, AF_UNSPEC);
}

static void test_an_error_is_told_once(void **state)
{
	struct address a;
	struct pollfd p;

	(void)state;
	close(listen_on_loopback(&a));
	p = (struct pollfd){ .fd = connect_to(&a, SOCK_NONBLOCK), .events = POLLOUT };
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(socket_take_error(p.fd), -ECONNREFUSED);
	assert_int_equal(socket_take_error(p.fd), 0);
	close(p.fd);
	assert_int_equal(socket_take_error(-1), -EBADF);
}

static void test_the_other_side_sees_a_reset(void **state)
{
	struct address a;
	int listening = listen_on_loopback(&a);
	int client = connect_to(&a, 0);
	int accepted = accept(listening, NULL, NULL);
	char byte;

	(void)state;
	socket_reset_on_close(accepted);
	close(accepted);
	assert_int_equal(read(client, &byte, 1), -1);
	assert_int_equal(errno, ECONNRESET);
	close(client);
	close(listening);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_address_is_the_one_it_is_bound_to),
		cmocka_unit_test(test_what_is_no_socket_has_no_address),
		cmocka_unit_test(test_an_error_is_told_once),
		cmocka_unit_test(test_the_other_side_sees_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
