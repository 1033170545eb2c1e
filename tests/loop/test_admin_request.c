/* SPDX-License-Identifier: MIT */
/* What one client sends and gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "admin/admin_request.h"
#include "lib/test_loop.h"
#include "loop/admin_fixture.h"

/* V2, LOCAL, without addresses */
#define LOCAL "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"

/* --- requests and answers --- */

static void test_a_request_is_answered(void **state)
{
	struct admin_fixture *f = *state;

	admin_fixture_start(f, NEVER);
	admin_fixture_exchange(f, GET, strlen(GET), "HTTP/1.1 200 OK\r\n", HELLO);
	assert_non_null(strstr(f->answer, "\r\nContent-Length: 6\r\n"));
	assert_non_null(strstr(f->answer, "\r\nContent-Type: " HTTP_PLAIN_TEXT "\r\n"));
	assert_non_null(strstr(f->answer, "\r\nCache-Control: no-store\r\n"));
	assert_non_null(strstr(f->answer, "\r\nConnection: close\r\n"));
}

static void test_head_is_answered_without_the_body(void **state)
{
	static const char head[] = "HEAD /now HTTP/1.0\r\n\r\n";
	struct admin_fixture *f = *state;

	admin_fixture_start(f, NEVER);
	admin_fixture_exchange(f, head, strlen(head), "HTTP/1.1 200 OK\r\n", "");
	assert_non_null(strstr(f->answer, "\r\nContent-Length: 6\r\n"));
}

static void test_it_serves_a_unix_socket(void **state)
{
	struct admin_fixture *f = *state;

	admin_fixture_start(f, NEVER);
	admin_fixture_listen(f, f->unix_name);
	admin_fixture_exchange(f, GET, strlen(GET), "HTTP/1.1 200 OK\r\n", HELLO);
}

static void test_errors_are_explained(void **state)
{
	static const struct {
		const char *request;
		const char *line;
		const char *body;
	} cases[] = {
		{ "GET /no HTTP/1.0\r\n\r\n", "HTTP/1.1 404 ", "404 Not Found\n" },
		{ "PUT /now HTTP/1.0\r\n\r\n", "HTTP/1.1 405 ",
		  "405 Method Not Allowed: only GET and HEAD\n" },
		{ "GET /now HTTP/1.0\r\nContent-Length: 5\r\n\r\nabcde", "HTTP/1.1 413 ",
		  "413 Content Too Large: a request has no body here\n" },
		{ "PRI * HTTP/2.0\r\n\r\n", "HTTP/1.1 505 ",
		  "505 HTTP Version Not Supported: only HTTP/1.0 and 1.1\n" },
		{ "\x16\x03\x01\x02", "HTTP/1.1 400 ", "400 Bad Request\n" },
		{ "PROXY TCP4 nonsense\r\nGET /now HTTP/1.0\r\n\r\n", "HTTP/1.1 400 ",
		  "400 Bad Request\n" },
	};
	struct admin_fixture *f = *state;

	admin_fixture_start(f, NEVER);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		admin_fixture_exchange(f, cases[i].request, strlen(cases[i].request), cases[i].line,
				       cases[i].body);
	assert_int_equal(f->asked, 1); /* the handler knows which pages there are */
	assert_non_null(strstr(f->answer, "\r\nContent-Length: 16\r\n"));
}

static void test_a_request_may_come_byte_by_byte(void **state)
{
	static const char bytes[] = LOCAL GET;
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, NEVER);
	admin_fixture_connect(f, &p);
	for (size_t i = 0; i < sizeof bytes - 1; i++) {
		test_peer_send(&p, bytes + i, 1);
		test_loop_settle(&f->loop);
	}
	admin_fixture_expect_hello(f, &p);
}

static void test_a_proxy_header_in_front_is_skipped(void **state)
{
	static const char v1[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" GET;
	static const char unknown[] = "PROXY UNKNOWN\r\n" GET;
	static const char v2[] = LOCAL GET;
	static const char local_twice[] = LOCAL LOCAL GET;
	struct admin_fixture *f = *state;

	admin_fixture_start(f, NEVER);
	admin_fixture_exchange(f, v1, sizeof v1 - 1, "HTTP/1.1 200 ", HELLO);
	admin_fixture_exchange(f, unknown, sizeof unknown - 1, "HTTP/1.1 200 ", HELLO);
	admin_fixture_exchange(f, v2, sizeof v2 - 1, "HTTP/1.1 200 ", HELLO);
	admin_fixture_exchange(f, local_twice, sizeof local_twice - 1, "HTTP/1.1 400 ",
			       "400 Bad Request\n");
}

static void test_only_one_header_is_skipped(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, NEVER);
	admin_fixture_connect(f, &p);
	test_peer_send(&p, LOCAL, sizeof LOCAL - 1);
	test_loop_settle(&f->loop);
	test_peer_send(&p, LOCAL GET, sizeof LOCAL GET - 1);
	admin_fixture_expect(f, &p, "HTTP/1.1 400 ", "400 Bad Request\n");
}

/* The header does not count, but has to fit. */
static void test_the_longest_header_and_the_longest_request_fit(void **state)
{
	struct admin_fixture *f = *state;
	static char bytes[2 * HTTP_REQUEST_MAX];
	size_t noop = HTTP_REQUEST_MAX - 16;

	memset(bytes, 0, sizeof bytes);
	memcpy(bytes, LOCAL, 16);
	bytes[14] = (char)(noop >> 8);
	bytes[15] = (char)noop;
	memset(bytes + HTTP_REQUEST_MAX, 'x', HTTP_REQUEST_MAX);
	memcpy(bytes + HTTP_REQUEST_MAX, "GET /now?", 9);
	memcpy(bytes + sizeof bytes - 13, " HTTP/1.0\r\n\r\n", 13);
	admin_fixture_start(f, NEVER);
	admin_fixture_exchange(f, bytes, sizeof bytes, "HTTP/1.1 200 ", HELLO);
	bytes[15]++;
	admin_fixture_exchange(f, bytes, sizeof bytes, "HTTP/1.1 400 ", "400 Bad Request\n");
}

static void test_what_follows_a_request_is_dropped(void **state)
{
	static const char twice[] = GET GET;
	struct admin_fixture *f = *state;

	admin_fixture_start(f, NEVER);
	admin_fixture_exchange(f, twice, sizeof twice - 1, "HTTP/1.1 200 ", HELLO);
	assert_int_equal(f->asked, 1);
}

/* It gets its answer, not a reset, although it sends all before it reads. The kernel does not take it all at once. */
static void test_a_megabyte_of_request_is_refused_in_order(void **state)
{
	const int small = 16384;
	struct admin_fixture *f = *state;
	char *bytes = malloc(MEGABYTE);
	struct test_peer p;

	memset(bytes, 'x', MEGABYTE);
	admin_fixture_start(f, NEVER);
	admin_fixture_connect(f, &p);
	setsockopt(p.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	test_peer_send(&p, bytes, MEGABYTE);
	admin_fixture_expect(f, &p, "HTTP/1.1 414 ", "414 URI Too Long\n");
	free(bytes);
}

/* Sends until it is cut off: what is dropped has an end. */
static void test_an_endless_request_is_cut_off(void **state)
{
	static const char bytes[65536];
	struct admin_fixture *f = *state;
	struct test_peer p;
	size_t sent = 0;
	ssize_t n = 0;

	admin_fixture_start(f, NEVER);
	admin_fixture_connect(f, &p);
	while (n >= 0 || errno == EAGAIN) {
		test_loop_until_ready(&f->loop, p.fd, POLLOUT, "room to send");
		n = send(p.fd, bytes, sizeof bytes, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		assert_true(sent < 64 * MEGABYTE);
	}
	assert_true(errno == ECONNRESET || errno == EPIPE);
	test_peer_close(&p);
}

static void test_a_large_answer_arrives_whole(void **state)
{
	static const char request[] = "GET /large HTTP/1.0\r\n\r\nand this is dropped";
	struct admin_fixture *f = *state;
	struct test_peer p;
	size_t size;

	admin_fixture_start(f, NEVER);
	admin_fixture_connect(f, &p);
	test_peer_send_text(&p, request);
	size = admin_fixture_receive(f, &p);
	assert_in_range(size, f->page_size, f->page_size + HTTP_HEAD_MAX);
}

/* Some clients have no more to say, and say so. */
static void test_a_client_may_send_fin_behind_its_request(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, NEVER);
	admin_fixture_connect(f, &p);
	test_peer_send_text(&p, GET);
	test_peer_shutdown(&p);
	admin_fixture_expect_hello(f, &p);
}

/* --- answers that come later --- */

static void test_an_answer_may_come_later(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, NEVER);
	admin_fixture_ask_for_later(f, &p);
	admin_fixture_get(f); /* others do not wait for it */
	admin_fixture_answer(f->later[0]);
	f->later_count = 0;
	admin_fixture_expect_hello(f, &p);
}

/* It has no more to say, but listens. */
static void test_fin_may_come_before_the_answer(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, NEVER);
	admin_fixture_ask_for_later(f, &p);
	test_peer_shutdown(&p);
	test_loop_settle(&f->loop);
	admin_fixture_answer(f->later[0]);
	f->later_count = 0;
	admin_fixture_expect_hello(f, &p);
}

static void test_the_client_may_have_gone_by_then(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, NEVER);
	admin_fixture_ask_for_later(f, &p);
	test_peer_reset(&p);
	test_loop_settle(&f->loop);
	admin_fixture_answer(f->later[0]);
	f->later_count = 0;
	admin_fixture_get(f);
}

static void test_the_server_may_have_gone_by_then(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, NEVER);
	admin_fixture_ask_for_later(f, &p);
	admin_server_close(f->server);
	f->server = NULL;
	test_peer_expect_end(&p);
	test_peer_close(&p);
	test_loop_run_out(&f->loop);
	admin_fixture_answer(f->later[0]);
	f->later_count = 0;
}

/* --- slow clients --- */

static void test_a_client_who_does_not_ask_is_closed(void **state)
{
	static const char *const starts[] = { "", "P", "PROXY TCP4 ", "GET /now HTTP/1.0\r\n" };
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, SOON);
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		admin_fixture_connect(f, &p);
		test_peer_send_text(&p, starts[i]);
		admin_fixture_expect_end(f, &p);
	}
	assert_int_equal(f->asked, 0);
}

/* Bytes do not move the deadline. */
static void test_a_client_who_drips_is_closed(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, SOON);
	admin_fixture_connect(f, &p);
	for (;;) {
		struct pollfd readable = { .fd = p.fd, .events = POLLIN };

		uv_run(&f->loop, UV_RUN_NOWAIT);
		if (poll(&readable, 1, 1) != 0)
			break;
		send(p.fd, "x", 1, MSG_NOSIGNAL);
	}
	admin_fixture_expect_end(f, &p);
}

static void test_a_client_who_does_not_take_its_answer_is_closed(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;
	struct test_peer later;
	size_t size = 0;

	f->page_size = 32 * MEGABYTE;
	admin_fixture_start(f, SOON);
	admin_fixture_connect(f, &p);
	test_peer_send_text(&p, "GET /large HTTP/1.0\r\n\r\n");
	/* A deadline that began later has passed, and so has ours. */
	test_loop_until(&f->loop, admin_fixture_was_asked, f, "the request");
	admin_fixture_connect(f, &later);
	admin_fixture_expect_end(f, &later);
	test_loop_settle(&f->loop);
	for (ssize_t n = 1; n > 0; size += n > 0 ? (size_t)n : 0) {
		static char piece[65536];

		n = recv(p.fd, piece, sizeof piece, 0);
		if (n < 0)
			assert_int_equal(errno, ECONNRESET);
	}
	assert_true(size < f->page_size);
	test_peer_close(&p);
}

static bool has_time_passed(void *data)
{
	const struct admin_request *r = data;

	return uv_timer_get_due_in(&r->deadline) < NEVER - SOON;
}

/* The handler and the client have their own time, however long the request took. */
static void test_every_step_has_its_own_deadline(void **state)
{
	struct admin_fixture *f = *state;
	struct admin_request *r;
	struct test_peer p;

	admin_fixture_start(f, NEVER);
	admin_fixture_connect(f, &p);
	test_peer_send_text(&p, "GET /");
	test_loop_settle(&f->loop);
	r = container_of(f->server->requests[ADMIN_READ].next, struct admin_request, link);
	test_loop_until(&f->loop, has_time_passed, r, "some time");
	test_peer_send_text(&p, "later HTTP/1.0\r\n\r\n");
	test_loop_until(&f->loop, admin_fixture_was_asked, f, "the request");
	assert_false(has_time_passed(r));
	test_loop_until(&f->loop, has_time_passed, r, "some time");
	admin_fixture_answer(r);
	f->later_count = 0;
	assert_false(has_time_passed(r));
	admin_fixture_expect_hello(f, &p);
}

/* It has its answer; whether it closes is its own affair. */
static void test_a_client_who_does_not_close_is_closed(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, SOON);
	admin_fixture_connect(f, &p);
	test_peer_send_text(&p, GET);
	admin_fixture_expect_end(f, &p);
}

static void test_a_client_whose_answer_does_not_come_is_closed(void **state)
{
	struct admin_fixture *f = *state;
	struct test_peer p;

	admin_fixture_start(f, SOON);
	admin_fixture_ask_for_later(f, &p);
	admin_fixture_expect_end(f, &p);
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, admin_fixture_setup, admin_fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_request_is_answered),
		TEST(test_head_is_answered_without_the_body),
		TEST(test_it_serves_a_unix_socket),
		TEST(test_errors_are_explained),
		TEST(test_a_request_may_come_byte_by_byte),
		TEST(test_a_proxy_header_in_front_is_skipped),
		TEST(test_only_one_header_is_skipped),
		TEST(test_the_longest_header_and_the_longest_request_fit),
		TEST(test_what_follows_a_request_is_dropped),
		TEST(test_a_megabyte_of_request_is_refused_in_order),
		TEST(test_an_endless_request_is_cut_off),
		TEST(test_a_large_answer_arrives_whole),
		TEST(test_a_client_may_send_fin_behind_its_request),
		TEST(test_an_answer_may_come_later),
		TEST(test_fin_may_come_before_the_answer),
		TEST(test_the_client_may_have_gone_by_then),
		TEST(test_the_server_may_have_gone_by_then),
		TEST(test_a_client_who_does_not_ask_is_closed),
		TEST(test_a_client_who_drips_is_closed),
		TEST(test_a_client_who_does_not_take_its_answer_is_closed),
		TEST(test_every_step_has_its_own_deadline),
		TEST(test_a_client_who_does_not_close_is_closed),
		TEST(test_a_client_whose_answer_does_not_come_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
