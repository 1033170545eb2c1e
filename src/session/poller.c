/* SPDX-License-Identifier: MIT */
#include "session/poller.h"

#include <errno.h>
#include <unistd.h>

static void poller_on_readable(uv_poll_t *poll, int status, int events)
{
	struct poller *p = poll->data;
	int n;

	(void)events;
	assert(status == 0); /* an epoll descriptor knows no errors */
	n = epoll_wait(p->fd, p->events, POLLER_ROUND, 0);
	for (int i = 0; i < n; i++) {
		struct poller_watch *w = p->events[i].data.ptr;

		w->cb(w, p->events[i].events);
	}
	if (p->after_cb != NULL)
		p->after_cb(p);
}

int poller_open(struct poller *p, uv_loop_t *loop)
{
	int rv;

	p->fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->fd < 0)
		return -errno;
	rv = uv_poll_init(loop, &p->poll, p->fd);
	if (rv != 0)
		goto err_after_create;
	p->poll.data = p;
	p->after_cb = NULL;
	/* Cannot fail: the handle is new and the events are valid. */
	uv_poll_start(&p->poll, UV_READABLE, poller_on_readable);
	return 0;

err_after_create:
	close(p->fd);
	return rv;
}

void poller_close(struct poller *p, uv_close_cb cb)
{
	uv_poll_stop(&p->poll);
	uv_close((uv_handle_t *)&p->poll, cb);
	close(p->fd);
	p->fd = -1;
}

int poller_add(struct poller *p, int fd, uint32_t events, struct poller_watch *w)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	return epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &e) == 0 ? 0 : -errno;
}

void poller_repeat(struct poller *p, int fd, struct poller_watch *w)
{
	struct epoll_event e = { .events = POLLER_SOCKET, .data.ptr = w };
	int rv = epoll_ctl(p->fd, EPOLL_CTL_MOD, fd, &e);

	assert(rv == 0); /* ENOENT and EBADF would be ours, and MOD needs no memory */
	(void)rv;
}

void poller_remove(struct poller *p, int fd)
{
	int rv = epoll_ctl(p->fd, EPOLL_CTL_DEL, fd, NULL);

	assert(rv == 0);
	(void)rv;
}
