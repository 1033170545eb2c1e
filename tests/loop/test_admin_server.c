/* SPDX-License-Identifier: MIT */
/* Many clients, sockets to listen on, and what may run out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/admin_request.h"
#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/admin_fixture.h"

/* --- many clients --- */

static bool has_end(const struct test_peer *p)
{
	struct pollfd readable = { .fd = p->fd, .events = POLLIN };

	return poll(&readable, 1, 0) != 0;
}

static void test_the_oldest_makes_room_for_the_next(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer crowd[ADMIN_REQUESTS_MAX];
	struct test_peer next;

	admin_fixture_start(f, NEVER);
	for (unsigned i = 0; i < ADMIN_REQUESTS_MAX; i++)
		admin_fixture_connect(f, &crowd[i]);
	test_loop_settle(&f->loop);
	for (unsigned i = 0; i < ADMIN_REQUESTS_MAX; i++)
		assert_false(has_end(&crowd[i]));
	admin_fixture_connect(f, &next);
	test_peer_expect_end(&crowd[0]);
	for (unsigned i = 1; i < ADMIN_REQUESTS_MAX; i++)
		assert_false(has_end(&crowd[i]));
	test_peer_send_text(&next, GET);
	admin_fixture_expect_hello(f, &next);
	for (unsigned i = 0; i < ADMIN_REQUESTS_MAX; i++)
		test_peer_close(&crowd[i]);
}

static void test_who_has_asked_stays(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer crowd[ADMIN_REQUESTS_MAX];
	struct test_peer p;

	admin_fixture_start(f, NEVER);
	admin_fixture_ask_for_later(f, &p);
	for (unsigned i = 0; i < ADMIN_REQUESTS_MAX; i++)
		admin_fixture_connect(f, &crowd[i]);
	test_peer_expect_end(&crowd[0]);
	assert_false(has_end(&p));
	admin_fixture_answer(f->later[0]);
	f->later_count = 0;
	admin_fixture_expect_hello(f, &p);
	for (unsigned i = 0; i < ADMIN_REQUESTS_MAX; i++)
		test_peer_close(&crowd[i]);
}

/* Only answers can be given up, not requests that somebody works on. */
static void test_when_all_wait_for_the_handler_the_next_is_closed(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer crowd[ADMIN_REQUESTS_MAX];
	struct test_peer next;

	admin_fixture_start(f, NEVER);
	for (unsigned i = 0; i < ADMIN_REQUESTS_MAX; i++)
		admin_fixture_ask_for_later(f, &crowd[i]);
	admin_fixture_connect(f, &next);
	admin_fixture_expect_end(f, &next);
	test_peer_reset(&crowd[0]); /* the handler still has it */
	test_loop_settle(&f->loop);
	admin_fixture_connect(f, &next);
	admin_fixture_expect_end(f, &next);
	admin_fixture_answer(f->later[0]);
	f->later[0] = f->later[--f->later_count];
	admin_fixture_get(f);
	for (unsigned i = 1; i < ADMIN_REQUESTS_MAX; i++)
		test_peer_close(&crowd[i]);
}

static void ask_for_large(struct admin_fixture *f, struct test_peer *p)
{
	admin_fixture_connect(f, p);
	test_peer_send_text(p, "GET /large HTTP/1.0\r\n\r\n");
}

/* The next, who has come before them but not asked yet, stays. */
static void test_who_has_his_answer_makes_room(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer crowd[ADMIN_REQUESTS_MAX];
	struct test_peer next;

	f->page_size = 64; /* taken, but none of them closes */
	admin_fixture_start(f, NEVER);
	admin_fixture_connect(f, &next);
	test_loop_settle(&f->loop);
	for (unsigned i = 0; i < ADMIN_REQUESTS_MAX; i++) {
		ask_for_large(f, &crowd[i]);
		test_loop_settle(&f->loop);
	}
	assert_int_equal(f->asked, ADMIN_REQUESTS_MAX);
	admin_fixture_get(f);
	test_peer_send_text(&next, GET);
	admin_fixture_expect_hello(f, &next);
	for (unsigned i = 0; i < ADMIN_REQUESTS_MAX; i++)
		test_peer_close(&crowd[i]);
}

static void test_who_does_not_take_his_answer_makes_room(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer greedy;
	struct test_peer crowd[ADMIN_REQUESTS_MAX];

	f->page_size = 32 * MEGABYTE;
	admin_fixture_start(f, NEVER);
	ask_for_large(f, &greedy);
	for (unsigned i = 1; i < ADMIN_REQUESTS_MAX; i++)
		admin_fixture_ask_for_later(f, &crowd[i]);
	admin_fixture_get(f);
	admin_fixture_expect_end(f, &greedy);
	for (unsigned i = 1; i < ADMIN_REQUESTS_MAX; i++)
		test_peer_close(&crowd[i]);
}

/* Two of these answers fit, and the third takes the place of the first. */
static void test_answers_that_nobody_takes_are_bounded(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p[3];

	f->page_size = ADMIN_ANSWERS_MAX / 2;
	admin_fixture_start(f, NEVER);
	for (unsigned i = 0; i < 3; i++) {
		admin_fixture_connect(f, &p[i]);
		f->asked = 0;
		test_peer_send_text(&p[i], "GET /large HTTP/1.0\r\n\r\n");
		test_loop_until(&f->loop, admin_fixture_was_asked, f, "the request");
	}
	assert_true(admin_fixture_receive(f, &p[1]) > f->page_size);
	assert_true(admin_fixture_receive(f, &p[2]) > f->page_size);
	assert_true(admin_fixture_expect_end(f, &p[0]) < f->page_size);
	/* One that is larger than all of them may be has to itself what there is. */
	f->page_size = ADMIN_ANSWERS_MAX + 1;
	admin_fixture_connect(f, &p[0]);
	test_peer_send_text(&p[0], "GET /large HTTP/1.0\r\n\r\n");
	assert_true(admin_fixture_receive(f, &p[0]) > f->page_size);
}

/* All that malloc(3) has lent [bytes]; under ASan it knows of nothing. */
static size_t memory_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* All who wait for a page get it in one go, with no turn of the loop in between. */
static void test_answers_given_in_a_row_are_bounded(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p[16];
	const size_t size = ADMIN_ANSWERS_MAX / 4;
	size_t before;

	admin_fixture_start(f, NEVER);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		admin_fixture_ask_for_later(f, &p[i]);
	before = memory_in_use();
	while (f->later_count > 0) {
		char *body = calloc(1, size);

		assert_non_null(body);
		admin_request_answer(f->later[--f->later_count], HTTP_OK, HTTP_PLAIN_TEXT, body,
				     size);
		assert_true(memory_in_use() < before + ADMIN_ANSWERS_MAX + size);
	}
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		admin_fixture_expect_end(f, &p[i]);
}

/* Only what the kernel has not taken counts: these two do not close, but have what they wanted. */
static void test_answers_that_were_taken_are_forgotten(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p[2];

	admin_fixture_start(f, NEVER);
	for (unsigned i = 0; i < 2; i++) {
		size_t size = 0;

		admin_fixture_connect(f, &p[i]);
		test_peer_send_text(&p[i], "GET /large HTTP/1.0\r\n\r\n");
		while (size < f->page_size) {
			static char piece[MEGABYTE];

			test_loop_until_ready(&f->loop, p[i].fd, POLLIN, "the answer");
			size += test_peer_receive_some(&p[i], piece, sizeof piece);
		}
		test_loop_settle(&f->loop);
		assert_int_equal(f->server->answer_bytes, 0);
		assert_int_equal(f->server->count, i + 1);
	}
	test_peer_close(&p[0]);
	test_peer_close(&p[1]);
}

/* --- the listening socket --- */

static void test_the_socket_can_be_changed_under_way(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer before;
	struct test_peer refused;
	char old_name[TEST_PEER_NAME_MAX];

	admin_fixture_start(f, NEVER);
	admin_fixture_connect(f, &before);
	test_peer_send_text(&before, "GET /now");
	test_loop_settle(&f->loop);
	strcpy(old_name, f->name);
	admin_fixture_listen(f, "127.0.0.1:0");
	admin_fixture_get(f);
	test_peer_connect(&refused, &f->loop, old_name, NULL);
	assert_int_equal(send(refused.fd, "x", 1, MSG_NOSIGNAL), -1);
	test_peer_close(&refused);
	test_peer_send_text(&before, " HTTP/1.0\r\n\r\n");
	admin_fixture_expect_hello(f, &before);
	admin_server_use(f->server, NULL);
}

static void test_what_is_no_socket_is_refused_and_the_old_one_stays(void **state)
{
	struct admin_fixture *f = *state;
	struct admin_listening *l;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	admin_fixture_start(f, NEVER);
	assert_int_not_equal(admin_listening_open(f->server, fd, &l), 0);
	close(fd);
	admin_fixture_get(f);
}

static int accept_error; /* of the next accept4() */

int __real_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	errno = accept_error;
	accept_error = 0;
	return errno != 0 ? -1 : __real_accept4(fd, address, size, flags);
}

static void test_accepting_goes_on_after_a_shortage(void **state)
{
	static const int errors[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED };
	struct admin_fixture *f = *state;

	admin_fixture_start(f, NEVER);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		accept_error = errors[i];
		admin_fixture_get(f);
		assert_int_equal(accept_error, 0);
	}
}

/* A reload may come to nothing after the new socket is open. */
static void test_a_socket_that_is_not_used_after_all_is_closed(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer other;
	struct admin_listening *l;

	admin_fixture_start(f, NEVER);
	test_peer_listen(&other, &f->loop, "127.0.0.1:0", 8);
	assert_int_equal(admin_listening_open(f->server, other.fd, &l), 0);
	admin_listening_close(l);
	admin_fixture_get(f);
}

/* --- allocations that fail --- */

static void test_without_memory_it_loses_a_client_and_nothing_else(void **state)
{
	struct admin_fixture *f = *state;
	bool failed;
	unsigned count = 0;

	admin_fixture_start(f, NEVER);
	do {
		struct test_peer p;

		fault_arm(count++);
		admin_fixture_connect(f, &p);
		test_peer_send_text(&p, GET);
		admin_fixture_expect_end(f, &p);
		failed = fault_disarm();
	} while (failed);
	assert_true(count > 2);
	admin_fixture_get(f);
}

static void test_without_memory_it_does_not_start(void **state)
{
	struct admin_fixture *f = *state;
	struct admin_listening *l;

	fault_arm(0);
	assert_null(admin_server_create(&f->loop, NEVER, NULL, f));
	fault_disarm();
	admin_fixture_start(f, NEVER);
	fault_arm(0);
	assert_int_equal(admin_listening_open(f->server, f->listening.fd, &l), -ENOMEM);
	fault_disarm();
	admin_fixture_get(f);
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, admin_fixture_setup, admin_fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_the_oldest_makes_room_for_the_next),
		TEST(test_who_has_asked_stays),
		TEST(test_when_all_wait_for_the_handler_the_next_is_closed),
		TEST(test_who_has_his_answer_makes_room),
		TEST(test_who_does_not_take_his_answer_makes_room),
		TEST(test_answers_that_nobody_takes_are_bounded),
		TEST(test_answers_given_in_a_row_are_bounded),
		TEST(test_answers_that_were_taken_are_forgotten),
		TEST(test_the_socket_can_be_changed_under_way),
		TEST(test_what_is_no_socket_is_refused_and_the_old_one_stays),
		TEST(test_a_socket_that_is_not_used_after_all_is_closed),
		TEST(test_accepting_goes_on_after_a_shortage),
		TEST(test_without_memory_it_loses_a_client_and_nothing_else),
		TEST(test_without_memory_it_does_not_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
