/* SPDX-License-Identifier: MIT */
/* Happy path: accept, a few a turn, and start a request for each.
 *
 * What can go wrong:
 * - There are too many already: close the oldest of those who have their answers, or else of those whose request is not
 *   here yet, or of those who do not take their answers; if the handler has them all, the new one.
 * - No descriptor or memory is left: stop accepting for a while. This is why we accept ourselves: uv_listen() would try
 *   again at once, for as long as it takes. */
#include "admin/admin_server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/admin_request.h"

/* Connections that are accepted before others have their turn. */
#define ADMIN_TURN 16

/* How long a shortage is waited out [ms]. */
#define ADMIN_PAUSE_MS 100

bool admin_server_close_oldest(struct admin_server *a, enum admin_state state)
{
	if (list_is_empty(&a->requests[state]))
		return false;
	admin_request_close(container_of(a->requests[state].next, struct admin_request, link));
	return true;
}

static bool admin_server_make_room(struct admin_server *a)
{
	return a->count < ADMIN_REQUESTS_MAX || admin_server_close_oldest(a, ADMIN_LINGER) ||
	       admin_server_close_oldest(a, ADMIN_READ) || admin_server_close_oldest(a, ADMIN_SEND);
}

static void admin_server_on_readable(uv_poll_t *poll, int status, int events);

/* It is not closing, so it cannot fail. */
static void admin_server_watch(struct admin_server *a)
{
	if (a->listening != NULL)
		uv_poll_start(&a->listening->poll, UV_READABLE, admin_server_on_readable);
}

static void admin_server_on_resume(uv_timer_t *timer)
{
	admin_server_watch(timer->data);
}

static void admin_server_pause(struct admin_server *a)
{
	uv_poll_stop(&a->listening->poll);
	uv_timer_start(&a->resume, admin_server_on_resume, ADMIN_PAUSE_MS, 0);
}

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void admin_server_on_readable(uv_poll_t *poll, int status, int events)
{
	struct admin_server *a = poll->data;

	(void)status; /* accept4() tells the same */
	(void)events;
	for (unsigned turn = 0; turn < ADMIN_TURN; turn++) {
		int fd = accept4(a->listening->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0 && is_shortage(errno)) {
			admin_server_pause(a);
			return;
		}
		if (fd < 0)
			continue; /* accept(2): what a connection died of while it waited */
		if (admin_server_make_room(a))
			admin_request_start(a, fd);
		else
			close(fd);
	}
}

static void admin_listening_on_closed(uv_handle_t *handle)
{
	free(container_of((uv_poll_t *)handle, struct admin_listening, poll));
}

int admin_listening_open(struct admin_server *a, int fd, struct admin_listening **ret)
{
	struct admin_listening *l = malloc(sizeof *l);
	int rv;

	if (l == NULL)
		return -ENOMEM;
	rv = uv_poll_init(a->loop, &l->poll, fd);
	if (rv != 0) {
		free(l);
		return rv;
	}
	l->poll.data = a;
	l->fd = fd;
	*ret = l;
	return 0;
}

void admin_listening_close(struct admin_listening *l)
{
	if (l == NULL)
		return;
	uv_close((uv_handle_t *)&l->poll, admin_listening_on_closed);
	close(l->fd);
}

void admin_server_use(struct admin_server *a, struct admin_listening *l)
{
	admin_listening_close(a->listening);
	a->listening = l;
	admin_server_watch(a);
}

struct admin_server *admin_server_create(uv_loop_t *loop, unsigned patience_ms,
					 admin_handler handler, void *data)
{
	struct admin_server *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	uv_timer_init(loop, &a->resume);
	a->resume.data = a;
	a->loop = loop;
	a->patience_ms = patience_ms;
	a->handler = handler;
	a->data = data;
	for (int i = 0; i < ADMIN_NSTATES; i++)
		list_init(&a->requests[i]);
	return a;
}

void admin_server_free_if_done(struct admin_server *a)
{
	if (!a->closed)
		return;
	for (int i = 0; i < ADMIN_NSTATES; i++)
		if (!list_is_empty(&a->requests[i]))
			return;
	free(a);
}

static void admin_server_on_closed(uv_handle_t *handle)
{
	struct admin_server *a = handle->data;

	a->closed = true;
	admin_server_free_if_done(a);
}

void admin_server_close(struct admin_server *a)
{
	if (a == NULL)
		return;
	admin_server_use(a, NULL);
	for (int i = 0; i < ADMIN_CLOSED; i++)
		while (admin_server_close_oldest(a, (enum admin_state)i))
			continue;
	uv_close((uv_handle_t *)&a->resume, admin_server_on_closed);
}
