/* SPDX-License-Identifier: MIT */
/* Happy path: skip a PROXY header if there is one, read one request, ask the handler, send what it answers, wait for the
 * client's FIN.
 *
 * What can go wrong:
 * - The request is malformed, too long or has a body: say so. The client may still be sending, and closing with bytes
 *   unread would reset the connection under the answer: so a bounded amount of them is read and dropped.
 * - The client is slow, or does nothing: each state has its deadline.
 * - More answers wait to be taken than there is memory for: the oldest go.
 * - The client leaves before the handler has answered: the memory stays until it has. */
#include "admin/admin_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "wire/proxy_header.h"

/* What is dropped behind a request: enough for clients that send a megabyte before they read [bytes]. */
#define ADMIN_DROP_MAX (2U << 20)

/* --- the end --- */

static void admin_request_free_if_done(struct admin_request *r)
{
	struct admin_server *a = r->server;

	if (r->open_handles > 0 || r->unanswered)
		return;
	list_remove(&r->link);
	free(r->body);
	free(r);
	admin_server_free_if_done(a);
}

static void admin_request_on_closed(uv_handle_t *handle)
{
	struct admin_request *r = handle->data;

	r->open_handles--;
	admin_request_free_if_done(r);
}

static void admin_request_on_deadline(uv_timer_t *timer)
{
	admin_request_close(timer->data);
}

/* The one writer of the state: it moves the deadline along. */
static void admin_request_set_state(struct admin_request *r, enum admin_state next)
{
	struct admin_server *a = r->server;

	r->state = next;
	list_remove(&r->link);
	list_append(&a->requests[next], &r->link);
	if (next != ADMIN_CLOSED) /* the callback is not NULL, so it cannot fail */
		uv_timer_start(&r->deadline, admin_request_on_deadline, a->patience_ms, 0);
}

/* Nothing writes it any more. */
static void admin_request_drop_body(struct admin_request *r)
{
	r->server->answer_bytes -= r->body_size;
	r->body_size = 0;
	free(r->body);
	r->body = NULL;
}

void admin_request_close(struct admin_request *r)
{
	struct admin_server *a = r->server;
	bool sending = r->state == ADMIN_SEND;

	if (r->state == ADMIN_CLOSED)
		return;
	if (!r->unanswered)
		a->count--;
	admin_request_set_state(r, ADMIN_CLOSED);
	uv_close(&r->handle, admin_request_on_closed);
	uv_close((uv_handle_t *)&r->deadline, admin_request_on_closed);
	/* The socket is closed now. The callbacks may be far off: dozens of answers can be given in a row. */
	if (sending)
		admin_request_drop_body(r);
}

/* --- the answer --- */

static void admin_request_on_shutdown(uv_shutdown_t *shutdown, int status)
{
	struct admin_request *r = shutdown->data;

	if (r->state == ADMIN_CLOSED)
		return;
	if (status != 0 || r->ended)
		admin_request_close(r);
	else
		admin_request_set_state(r, ADMIN_LINGER);
}

static void admin_request_on_written(uv_write_t *write, int status)
{
	struct admin_request *r = write->data;

	if (r->state == ADMIN_CLOSED)
		return;
	admin_request_drop_body(r);
	if (status != 0 || uv_shutdown(&r->shutdown, &r->stream, admin_request_on_shutdown) != 0)
		admin_request_close(r);
}

static void admin_request_send(struct admin_request *r, const struct strbuf *head)
{
	const uv_buf_t parts[2] = { uv_buf_init(head->data, (unsigned)head->used),
				    uv_buf_init(r->body, (unsigned)r->body_size) };
	unsigned count = r->request.head ? 1 : 2;

	if (uv_write(&r->write, &r->stream, parts, count, admin_request_on_written) != 0)
		admin_request_close(r);
}

void admin_request_answer(struct admin_request *r, enum http_status status, const char *type,
			  char *body, size_t size)
{
	struct admin_server *a = r->server;
	struct strbuf head;

	assert(r->unanswered);
	r->unanswered = false;
	r->body = body;
	r->body_size = size;
	if (r->state == ADMIN_CLOSED) {
		a->count--;
		admin_request_free_if_done(r);
		return;
	}
	while (a->answer_bytes + size > ADMIN_ANSWERS_MAX &&
	       admin_server_close_oldest(a, ADMIN_SEND))
		continue;
	a->answer_bytes += size;
	admin_request_set_state(r, ADMIN_SEND);
	strbuf_init(&head, r->head, sizeof r->head);
	http_answer_head(&head, status, type, size, time(NULL));
	assert(!head.cut);
	admin_request_send(r, &head);
}

void admin_request_answer_text(struct admin_request *r, enum http_status status, const char *why)
{
	char text[256];
	struct strbuf out;
	char *body;

	strbuf_init(&out, text, sizeof text);
	strbuf_printf(&out, "%d %s%s%s\n", (int)status, http_status_phrase(status),
		      why != NULL ? ": " : "", why != NULL ? why : "");
	body = strdup(text);
	admin_request_answer(r, status, HTTP_PLAIN_TEXT, body, body != NULL ? out.used : 0);
}

/* --- the request --- */

static const char *reason_for(enum http_status status)
{
	switch (status) {
	case HTTP_METHOD_NOT_ALLOWED:
		return "only GET and HEAD";
	case HTTP_CONTENT_TOO_LARGE:
		return "a request has no body here";
	case HTTP_BAD_VERSION:
		return "only HTTP/1.0 and 1.1";
	case HTTP_OK:
	case HTTP_BAD_REQUEST:
	case HTTP_NOT_FOUND:
	case HTTP_URI_TOO_LONG:
	case HTTP_FIELDS_TOO_LARGE:
	case HTTP_INTERNAL_ERROR:
	case HTTP_UNAVAILABLE:
		break;
	}
	return NULL;
}

/* Load balancers send one to whatever port they check. Whom it names does not matter here. */
static enum parse admin_request_skip_header(struct admin_request *r)
{
	const uint8_t *bytes = (const uint8_t *)r->buffer;
	struct proxy_header header;
	enum header_error why;
	enum parse found;

	if (r->header_skipped)
		return PARSE_DONE;
	found = proxy_signature_match(bytes, r->used);
	if (found == PARSE_BAD) { /* there is none */
		r->header_skipped = true;
		return PARSE_DONE;
	}
	if (found == PARSE_DONE)
		found = proxy_header_parse(bytes, r->used, sizeof r->buffer, &header, &why);
	if (found != PARSE_DONE)
		return found;
	r->header_skipped = true;
	r->used -= header.length;
	memmove(r->buffer, r->buffer + header.length, r->used);
	return PARSE_DONE;
}

static void admin_request_parse(struct admin_request *r)
{
	enum http_status status = HTTP_BAD_REQUEST;
	enum parse found = admin_request_skip_header(r);

	if (found == PARSE_DONE)
		found = http_request_parse(&r->request, r->buffer, r->used, &status);
	if (found == PARSE_MORE)
		return;
	r->unanswered = true;
	admin_request_set_state(r, ADMIN_ANSWER);
	if (found == PARSE_DONE)
		r->server->handler(r, r->request.path, r->server->data);
	else
		admin_request_answer_text(r, status, reason_for(status));
}

static void admin_request_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct admin_request *r = handle->data;

	(void)suggested;
	if (r->state == ADMIN_READ) /* there is room: neither parser wants more than all of it */
		*ret = uv_buf_init(r->buffer + r->used, (unsigned)(sizeof r->buffer - r->used));
	else
		*ret = uv_buf_init(r->server->dropped, sizeof r->server->dropped);
}

static void admin_request_on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct admin_request *r = stream->data;

	(void)buffer;
	if (size == UV_EOF && (r->state == ADMIN_ANSWER || r->state == ADMIN_SEND)) {
		r->ended = true;
	} else if (size < 0) {
		admin_request_close(r);
	} else if (r->state == ADMIN_READ) {
		r->used += (size_t)size;
		admin_request_parse(r);
	} else {
		r->dropped += (size_t)size;
		if (r->dropped > ADMIN_DROP_MAX)
			admin_request_close(r);
	}
}

/* --- the start --- */

static bool is_unix(int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t size = sizeof ss;

	return getsockname(fd, (struct sockaddr *)&ss, &size) == 0 && ss.ss_family == AF_UNIX;
}

/* Only the two opens can fail. */
static int admin_request_open(struct admin_request *r, int fd)
{
	uv_loop_t *loop = r->server->loop;
	int rv;

	uv_timer_init(loop, &r->deadline);
	if (is_unix(fd)) {
		uv_pipe_init(loop, &r->pipe, 0);
		rv = uv_pipe_open(&r->pipe, fd);
	} else {
		uv_tcp_init(loop, &r->tcp);
		rv = uv_tcp_open(&r->tcp, fd);
	}
	r->open_handles = 2;
	r->handle.data = r;
	r->deadline.data = r;
	r->write.data = r;
	r->shutdown.data = r;
	return rv;
}

void admin_request_start(struct admin_server *a, int fd)
{
	struct admin_request *r = malloc(sizeof *r);
	int rv;

	if (r == NULL) {
		close(fd);
		return;
	}
	memset(r, 0, offsetof(struct admin_request, head));
	r->server = a;
	http_request_init(&r->request);
	list_init(&r->link);
	a->count++;
	rv = admin_request_open(r, fd);
	if (rv != 0)
		close(fd);
	admin_request_set_state(r, ADMIN_READ);
	if (rv == 0)
		rv = uv_read_start(&r->stream, admin_request_on_alloc, admin_request_on_read);
	if (rv != 0)
		admin_request_close(r);
}
