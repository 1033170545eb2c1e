/* SPDX-License-Identifier: MIT */
#include "loop/admin_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_loop.h"

void admin_fixture_answer(struct admin_request *r)
{
	char *body = strdup(HELLO);

	admin_request_answer(r, HTTP_OK, HTTP_PLAIN_TEXT, body, body != NULL ? strlen(HELLO) : 0);
}

static void answer_large(struct admin_fixture *f, struct admin_request *r)
{
	char *body = malloc(f->page_size);

	assert_non_null(body);
	memset(body, 'x', f->page_size);
	admin_request_answer(r, HTTP_OK, HTTP_PLAIN_TEXT, body, f->page_size);
}

static void on_request(struct admin_request *r, const char *path, void *data)
{
	struct admin_fixture *f = data;

	f->asked++;
	if (strcmp(path, "/now") == 0)
		admin_fixture_answer(r);
	else if (strcmp(path, "/large") == 0)
		answer_large(f, r);
	else if (strcmp(path, "/later") == 0)
		f->later[f->later_count++] = r;
	else
		admin_request_answer_text(r, HTTP_NOT_FOUND, NULL);
}

int admin_fixture_setup(void **state)
{
	struct admin_fixture *f = calloc(1, sizeof *f);

	signal(SIGPIPE, SIG_IGN); /* as the server does */
	f->fds_before = test_count_fds();
	f->page_size = 8 * MEGABYTE;
	strcpy(f->directory, "/tmp/test_admin.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->unix_name, sizeof f->unix_name, "unix:%s/socket", f->directory);
	test_loop_open(&f->loop);
	*state = f;
	return 0;
}

int admin_fixture_teardown(void **state)
{
	struct admin_fixture *f = *state;

	admin_server_close(f->server);
	for (unsigned i = 0; i < f->later_count; i++)
		admin_fixture_answer(f->later[i]);
	test_loop_run_out(&f->loop);
	test_loop_close(&f->loop);
	assert_int_equal(test_count_fds(), f->fds_before);
	unlink(f->unix_name + strlen("unix:"));
	rmdir(f->directory);
	free(f);
	return 0;
}

void admin_fixture_listen(struct admin_fixture *f, const char *at)
{
	struct admin_listening *l;

	test_peer_listen(&f->listening, &f->loop, at, 128);
	test_peer_name(&f->listening, f->name);
	assert_int_equal(admin_listening_open(f->server, f->listening.fd, &l), 0);
	admin_server_use(f->server, l);
}

void admin_fixture_start(struct admin_fixture *f, unsigned patience_ms)
{
	f->server = admin_server_create(&f->loop, patience_ms, on_request, f);
	assert_non_null(f->server);
	admin_fixture_listen(f, "127.0.0.1:0");
}

void admin_fixture_connect(struct admin_fixture *f, struct test_peer *p)
{
	test_peer_connect(p, &f->loop, f->name, NULL);
}

size_t admin_fixture_receive(struct admin_fixture *f, struct test_peer *p)
{
	size_t size = 0;

	for (;;) {
		static char piece[MEGABYTE];
		ssize_t n;

		test_loop_until_ready(&f->loop, p->fd, POLLIN, "the answer");
		n = recv(p->fd, piece, sizeof piece, 0);
		if (n < 0)
			fail_msg("after %zu bytes: %s", size, strerror(errno));
		if (n == 0)
			break;
		if (size + (size_t)n < sizeof f->answer)
			memcpy(f->answer + size, piece, (size_t)n);
		size += (size_t)n;
	}
	f->answer[size < sizeof f->answer ? size : sizeof f->answer - 1] = '\0';
	test_peer_close(p);
	return size;
}

void admin_fixture_expect(struct admin_fixture *f, struct test_peer *p, const char *line,
			  const char *body)
{
	const char *head_end;

	admin_fixture_receive(f, p);
	head_end = strstr(f->answer, "\r\n\r\n");
	assert_non_null(head_end);
	assert_memory_equal(f->answer, line, strlen(line));
	assert_string_equal(head_end + 4, body);
}

void admin_fixture_expect_hello(struct admin_fixture *f, struct test_peer *p)
{
	admin_fixture_expect(f, p, "HTTP/1.1 200 OK\r\n", HELLO);
}

void admin_fixture_exchange(struct admin_fixture *f, const char *bytes, size_t size,
			    const char *line, const char *body)
{
	struct test_peer p;

	admin_fixture_connect(f, &p);
	test_peer_send(&p, bytes, size);
	admin_fixture_expect(f, &p, line, body);
}

bool admin_fixture_was_asked(void *data)
{
	return ((const struct admin_fixture *)data)->asked > 0;
}

void admin_fixture_get(struct admin_fixture *f)
{
	admin_fixture_exchange(f, GET, strlen(GET), "HTTP/1.1 200 OK\r\n", HELLO);
}

void admin_fixture_ask_for_later(struct admin_fixture *f, struct test_peer *p)
{
	admin_fixture_connect(f, p);
	f->asked = 0;
	test_peer_send_text(p, "GET /later HTTP/1.0\r\n\r\n");
	test_loop_until(&f->loop, admin_fixture_was_asked, f, "the request");
}

size_t admin_fixture_expect_end(struct admin_fixture *f, struct test_peer *p)
{
	static char piece[MEGABYTE];
	size_t size = 0;
	ssize_t n;

	do {
		test_loop_until_ready(&f->loop, p->fd, POLLIN, "the end");
		n = recv(p->fd, piece, sizeof piece, 0);
		size += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	test_peer_close(p);
	return size;
}
