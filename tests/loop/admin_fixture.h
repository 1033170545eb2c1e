/* SPDX-License-Identifier: MIT */
/* An admin server with some pages, and clients for it. */
#ifndef ADMIN_FIXTURE_H
#define ADMIN_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "admin/admin_server.h"
#include "lib/test_peer.h"

#define GET      "GET /now HTTP/1.0\r\n\r\n"
#define HELLO    "hello\n" /* what /now is */
#define MEGABYTE (1U << 20)

/* Deadlines that a test waits for, and such as never come [ms]. */
#define SOON  50
#define NEVER 600000

struct admin_fixture {
	uv_loop_t loop;
	struct admin_server *server;
	struct test_peer listening; /* its socket is the server's */
	char name[TEST_PEER_NAME_MAX];
	char directory[32];
	char unix_name[64];
	struct admin_request *later[ADMIN_REQUESTS_MAX]; /* that wait for an answer */
	unsigned later_count;
	unsigned asked;   /* requests that came */
	size_t page_size; /* of /large [bytes] */
	char answer[8192];
	unsigned fds_before;
};

int admin_fixture_setup(void **state);
int admin_fixture_teardown(void **state);

/* Create the server, on a TCP port. */
void admin_fixture_start(struct admin_fixture *f, unsigned patience_ms);

/* From now on, the server listens here. */
void admin_fixture_listen(struct admin_fixture *f, const char *at);

/* What the handler says to /now, and a test to those who wait in f->later. */
void admin_fixture_answer(struct admin_request *r);

void admin_fixture_connect(struct admin_fixture *f, struct test_peer *p);

/* Take all that comes until FIN, and close. The answer is in f->answer, unless it is long. Returns the bytes. */
size_t admin_fixture_receive(struct admin_fixture *f, struct test_peer *p);

/* Take an answer that begins with @line and has @body. */
void admin_fixture_expect(struct admin_fixture *f, struct test_peer *p, const char *line,
			  const char *body);
void admin_fixture_expect_hello(struct admin_fixture *f, struct test_peer *p);

/* Take what comes until the end, in whatever way it ends, and close. Returns the bytes. */
size_t admin_fixture_expect_end(struct admin_fixture *f, struct test_peer *p);

/* A client that sends so many bytes, and takes the answer. */
void admin_fixture_exchange(struct admin_fixture *f, const char *bytes, size_t size,
			    const char *line, const char *body);

/* A client that gets /now: the server works. */
void admin_fixture_get(struct admin_fixture *f);

/* For test_loop_until(): has a request come since f->asked was set to 0? */
bool admin_fixture_was_asked(void *data);

/* A client who wants what comes later, and whom the handler has heard. */
void admin_fixture_ask_for_later(struct admin_fixture *f, struct test_peer *p);

#endif
