/* SPDX-License-Identifier: MIT */
/* An HTTP server for a few pages, on a libuv loop that has other things to do: whatever its clients do, it takes
 * little time and bounded memory.
 *
 * One connection carries one request, with or without a PROXY header in front. ADMIN_REQUESTS_MAX connections of about
 * 10 KiB are open at most; when one more comes, another is closed, if possible one that has its answer. Answers that
 * wait for their clients take no more than ADMIN_ANSWERS_MAX bytes, or else are one. */
#ifndef ADMIN_SERVER_H
#define ADMIN_SERVER_H

#include <stddef.h>

#include <uv.h>

#include "admin/http_answer.h"
#include "base/bug.h"

#define ADMIN_REQUESTS_MAX 64
#define ADMIN_ANSWERS_MAX  (16U << 20) /* [bytes] */

/* How long a request may take to come, its handler to answer, the client to take the answer, and to close, each [ms]. */
#define ADMIN_PATIENCE_MS 5000

struct admin_server;
struct admin_listening;

/* A request that has come and waits for its answer. */
struct admin_request;

/* Somebody wants the page at @path, which begins with '/'; it is borrowed for the call. @r is the handler's until it
 * has given it to admin_request_answer(), now or later. */
typedef void (*admin_handler)(struct admin_request *r, const char *path, void *data);

/* NULL when out of memory. @patience_ms is ADMIN_PATIENCE_MS but for tests; @data is the handler's. */
struct admin_server *admin_server_create(uv_loop_t *loop, unsigned patience_ms,
					 admin_handler handler, void *data) MUST_CHECK;

/* Watch the listening socket @fd, TCP or unix, for @a, which accepts nothing from it yet. Takes the fd. Returns 0; or a
 * negative errno, and @fd is still yours. */
int admin_listening_open(struct admin_server *a, int fd, struct admin_listening **ret) MUST_CHECK;

/* Close one that is not in use, and its fd. The loop must still run for a callback. NULL does nothing. */
void admin_listening_close(struct admin_listening *l);

/* Accept from @l, which it takes, and close the one before; connections that are open stay. NULL: accept no more. */
void admin_server_use(struct admin_server *a, struct admin_listening *l);

/* Close everything. The loop must still run for the callbacks; requests that are unanswered must still be
 * answered. It frees itself after the last of them. NULL does nothing. */
void admin_server_close(struct admin_server *a);

/* Give @r its answer, once: @size bytes of @type (static). Takes @body, which came from malloc() or is NULL. The client may
 * have gone by now. On the loop's thread; @r is nobody's afterwards. */
void admin_request_answer(struct admin_request *r, enum http_status status, const char *type,
			  char *body, size_t size);

/* The same with a line of plain text: the status and, unless @why is NULL, that (copied). */
void admin_request_answer_text(struct admin_request *r, enum http_status status, const char *why);

#endif
