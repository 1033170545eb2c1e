/* SPDX-License-Identifier: MIT */
/* What the admin endpoint asks of workers, who here take their mail when the test lets them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "admin/admin_server.h"
#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "lib/test_peer.h"
#include "server/admin_connections.h"
#include "server/admin_health.h"
#include "server/server_private.h"

#define WORKERS 2
#define CLIENTS (ADMIN_CONNECTIONS_WAITING_MAX + 1)
#define GET     "GET /connections HTTP/1.0\r\n\r\n"

struct fixture {
	struct server server;           /* its loop, its mailbox and its workers */
	struct worker workers[WORKERS]; /* their loops and mailboxes */
	struct worker *by_number[WORKERS];
	struct admin_health *health;
	struct admin_connections *connections; /* NULL: closed */
	struct admin_server *http;
	struct test_peer listening;
	char name[TEST_PEER_NAME_MAX];
	struct test_peer clients[CLIENTS];
	unsigned asked; /* requests that came */
};

static void on_request(struct admin_request *r, const char *path, void *data)
{
	struct fixture *f = data;

	(void)path;
	f->asked++;
	admin_connections_ask(f->connections, r);
}

static void open_worker(struct fixture *f, unsigned number)
{
	struct worker *w = &f->workers[number];

	f->by_number[number] = w;
	test_loop_open(&w->loop);
	assert_int_equal(mailbox_open(&w->mailbox, &w->loop), 0);
	list_init(&w->env.sessions);
}

static void end_worker(struct worker *w)
{
	mailbox_close(&w->mailbox);
	test_loop_run_out(&w->loop);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct admin_listening *l;

	signal(SIGPIPE, SIG_IGN); /* as the server does */
	test_loop_open(&f->server.loop);
	assert_int_equal(mailbox_open(&f->server.mailbox, &f->server.loop), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		open_worker(f, i);
	f->server.workers = f->by_number;
	f->server.worker_count = WORKERS;
	f->server.workers_wanted = WORKERS;
	f->health = admin_health_create(WORKERS);
	f->connections = admin_connections_create(&f->server);
	f->http = admin_server_create(&f->server.loop, ADMIN_PATIENCE_MS, on_request, f);
	assert_non_null(f->http);
	test_peer_listen(&f->listening, &f->server.loop, "127.0.0.1:0", 8);
	test_peer_name(&f->listening, f->name);
	assert_int_equal(admin_listening_open(f->http, f->listening.fd, &l), 0);
	admin_server_use(f->http, l);
	*state = f;
	return 0;
}

/* As the server does it: workers, requests, mailbox, loop. */
static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < WORKERS; i++)
		if (!f->workers[i].mailbox.closed)
			end_worker(&f->workers[i]);
	admin_server_close(f->http);
	admin_connections_close(f->connections);
	mailbox_close(&f->server.mailbox);
	test_loop_run_out(&f->server.loop);
	admin_connections_destroy(f->connections);
	admin_health_destroy(f->health);
	for (unsigned i = 0; i < WORKERS; i++) {
		mailbox_fini(&f->workers[i].mailbox);
		test_loop_close(&f->workers[i].loop);
	}
	mailbox_fini(&f->server.mailbox);
	test_loop_close(&f->server.loop);
	free(f);
	return 0;
}

/* The worker takes its mail. */
static void let_work(struct fixture *f, unsigned number)
{
	test_loop_settle(&f->workers[number].loop);
}

static bool was_asked(void *data)
{
	return ((const struct fixture *)data)->asked > 0;
}

/* Client @number asks, and is heard. */
static void ask(struct fixture *f, unsigned number)
{
	f->asked = 0;
	test_peer_connect(&f->clients[number], &f->server.loop, f->name, NULL);
	test_peer_send_text(&f->clients[number], GET);
	test_loop_until(&f->server.loop, was_asked, f, "the request");
}

/* What client @number gets begins with @line and ends with @body. */
static void expect(struct fixture *f, unsigned number, const char *line, const char *body)
{
	struct test_peer *p = &f->clients[number];
	char answer[1024] = "";
	size_t size = 0;
	ssize_t n;

	do {
		test_loop_until_ready(&f->server.loop, p->fd, POLLIN, "the answer");
		n = recv(p->fd, answer + size, sizeof answer - 1 - size, 0);
		assert_true(n >= 0);
		size += (size_t)n;
	} while (n > 0);
	assert_memory_equal(answer, line, strlen(line));
	assert_true(size > strlen(body));
	assert_string_equal(answer + size - strlen(body), body);
	test_peer_close(p);
}

#define EMPTY "\r\n\r\n{\"total\":0,\"truncated\":false,\"connections\":[]}\n"

/* --- health --- */

static size_t check(struct fixture *f, uint64_t now_ms, unsigned stuck[static WORKERS])
{
	return admin_health_check(f->health, f->by_number, now_ms, stuck);
}

static void test_workers_that_take_their_mail_are_healthy(void **state)
{
	struct fixture *f = *state;
	unsigned stuck[WORKERS];

	for (uint64_t now_ms = 1000; now_ms < 100000; now_ms += 10000) {
		assert_int_equal(check(f, now_ms, stuck), 0);
		let_work(f, 0);
		let_work(f, 1);
	}
}

static void test_a_worker_that_does_not_is_stuck(void **state)
{
	struct fixture *f = *state;
	unsigned stuck[WORKERS];

	assert_int_equal(check(f, 1000, stuck), 0);
	let_work(f, 0);
	assert_int_equal(check(f, 1000 + ADMIN_HEALTH_PATIENCE_MS, stuck), 0);
	let_work(f, 0);
	assert_int_equal(check(f, 1001 + ADMIN_HEALTH_PATIENCE_MS, stuck), 1);
	assert_int_equal(stuck[0], 1);
	let_work(f, 1);                              /* it was only very busy */
	assert_int_equal(check(f, 90000, stuck), 1); /* and now the other one is */
	assert_int_equal(stuck[0], 0);
}

/* Asking for the first time in an hour does not make an hour's silence. */
static void test_time_counts_from_the_mail(void **state)
{
	struct fixture *f = *state;
	unsigned stuck[WORKERS];

	assert_int_equal(check(f, 1000, stuck), 0);
	let_work(f, 0);
	let_work(f, 1);
	assert_int_equal(check(f, 3600000, stuck), 0);
	assert_int_equal(check(f, 3600001, stuck), 0);
}

static void test_a_worker_that_has_ended_is_not_stuck(void **state)
{
	struct fixture *f = *state;
	unsigned stuck[WORKERS];

	end_worker(&f->workers[0]);
	end_worker(&f->workers[1]);
	assert_int_equal(check(f, 1000, stuck), 0);
	assert_int_equal(check(f, 100000, stuck), 0);
}

/* --- connections --- */

static void test_the_page_comes_when_all_have_answered(void **state)
{
	struct fixture *f = *state;
	struct pollfd readable;

	ask(f, 0);
	let_work(f, 0);
	test_loop_settle(&f->server.loop);
	readable = (struct pollfd){ .fd = f->clients[0].fd, .events = POLLIN };
	assert_int_equal(poll(&readable, 1, 0), 0);
	let_work(f, 1);
	expect(f, 0, "HTTP/1.1 200 ", EMPTY);
}

/* The workers are asked once for all of them. */
static void test_requests_that_come_meanwhile_get_the_same_page(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 3; i++)
		ask(f, i);
	let_work(f, 0);
	let_work(f, 1);
	for (unsigned i = 0; i < 3; i++)
		expect(f, i, "HTTP/1.1 200 ", EMPTY);
}

/* While the handler has them all, nobody is told that we live. */
static void test_not_all_who_ask_may_wait(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < CLIENTS; i++)
		ask(f, i);
	expect(f, CLIENTS - 1, "HTTP/1.1 503 ", ": too many ask for it\n");
	let_work(f, 0);
	let_work(f, 1);
	for (unsigned i = 0; i < CLIENTS - 1; i++)
		expect(f, i, "HTTP/1.1 200 ", EMPTY);
}

static void test_workers_have_a_pause_between_two_questions(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ms;

	ask(f, 0);
	start_ms = uv_now(&f->server.loop);
	let_work(f, 0);
	let_work(f, 1);
	expect(f, 0, "HTTP/1.1 200 ", EMPTY);
	ask(f, 1);
	ask(f, 2);
	assert_true(list_is_empty(&f->workers[0].mailbox.mails));
	while (list_is_empty(&f->workers[0].mailbox.mails))
		uv_run(&f->server.loop, UV_RUN_ONCE);
	assert_true(uv_now(&f->server.loop) >= start_ms + ADMIN_CONNECTIONS_PAUSE_MS);
	let_work(f, 0);
	let_work(f, 1);
	expect(f, 1, "HTTP/1.1 200 ", EMPTY);
	expect(f, 2, "HTTP/1.1 200 ", EMPTY);
}

/* Nobody waits longer than once for a worker that is stuck; when it is not any more, all is well. */
static void test_a_worker_that_does_not_answer_is_told_of(void **state)
{
	struct fixture *f = *state;

	ask(f, 0);
	let_work(f, 0);
	expect(f, 0, "HTTP/1.1 503 ", ": a worker does not answer\n");
	ask(f, 1);
	expect(f, 1, "HTTP/1.1 503 ", ": a worker does not answer\n");
	let_work(f, 1);
	test_loop_settle(&f->server.loop);
	ask(f, 1);
	ask(f, 2);
	let_work(f, 0);
	let_work(f, 1);
	expect(f, 1, "HTTP/1.1 200 ", EMPTY);
	expect(f, 2, "HTTP/1.1 200 ", EMPTY);
}

static void test_workers_that_have_ended_have_no_connections(void **state)
{
	struct fixture *f = *state;

	end_worker(&f->workers[0]);
	ask(f, 0);
	let_work(f, 1);
	expect(f, 0, "HTTP/1.1 200 ", EMPTY);
	end_worker(&f->workers[1]);
	ask(f, 1);
	expect(f, 1, "HTTP/1.1 200 ", EMPTY);
}

/* What is left to do is teardown()'s. */
static void test_the_end_may_come_in_the_pause(void **state)
{
	struct fixture *f = *state;

	ask(f, 0);
	let_work(f, 0);
	let_work(f, 1);
	expect(f, 0, "HTTP/1.1 200 ", EMPTY);
	ask(f, 0);
	test_peer_close(&f->clients[0]);
}

static void test_the_end_may_come_before_the_answers(void **state)
{
	struct fixture *f = *state;

	ask(f, 0);
	test_peer_close(&f->clients[0]);
	let_work(f, 0);
}

static void test_without_memory_there_is_nothing_to_ask(void **state)
{
	struct fixture *f = *state;
	unsigned count = 0;

	for (;; count++) {
		struct admin_connections *c;

		fault_arm(count);
		c = admin_connections_create(&f->server);
		if (!fault_disarm()) {
			admin_connections_close(c);
			test_loop_settle(&f->server.loop);
			admin_connections_destroy(c);
			break;
		}
		assert_null(c);
	}
	assert_int_equal(count, 3);
	fault_arm(0);
	assert_null(admin_health_create(WORKERS));
	fault_disarm();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_workers_that_take_their_mail_are_healthy),
		TEST(test_a_worker_that_does_not_is_stuck),
		TEST(test_time_counts_from_the_mail),
		TEST(test_a_worker_that_has_ended_is_not_stuck),
		TEST(test_the_page_comes_when_all_have_answered),
		TEST(test_requests_that_come_meanwhile_get_the_same_page),
		TEST(test_not_all_who_ask_may_wait),
		TEST(test_workers_have_a_pause_between_two_questions),
		TEST(test_a_worker_that_does_not_answer_is_told_of),
		TEST(test_workers_that_have_ended_have_no_connections),
		TEST(test_the_end_may_come_in_the_pause),
		TEST(test_the_end_may_come_before_the_answers),
		TEST(test_without_memory_there_is_nothing_to_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
