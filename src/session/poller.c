/* SPDX-License-Identifier: MIT */
#include "session/poller.h"

#include <errno.h>
#include <unistd.h>

int poller_open(struct poller *p, uv_loop_t *loop)
{
	/* No watch: that is how its event is told from a socket's. */
	struct epoll_event loop_event = { .events = EPOLLIN, .data.ptr = NULL };
	int rv;

	p->fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->fd < 0)
		return -errno;
	if (epoll_ctl(p->fd, EPOLL_CTL_ADD, uv_backend_fd(loop), &loop_event) != 0) {
		rv = -errno;
		close(p->fd);
		return rv;
	}
	p->loop = loop;
	p->after_cb = NULL;
	list_init(&p->again);
	return 0;
}

void poller_close(struct poller *p)
{
	LIST_FOR_EACH_SAFE (at, &p->again) {
		list_remove(at);
	}
	close(p->fd);
	p->fd = -1;
}

/* Those who asked before this round; who asks now has to wait for the next. */
static void poller_call_again(struct poller *p)
{
	struct list round;

	list_move(&p->again, &round);
	while (!list_is_empty(&round)) {
		struct poller_watch *w = container_of(round.next, struct poller_watch, again);

		list_remove(&w->again);
		w->cb(w, 0);
	}
}

/* Returns whether the loop has something to do. */
static bool poller_dispatch(struct poller *p, int timeout_ms)
{
	int n = epoll_wait(p->fd, p->events, POLLER_ROUND, timeout_ms);
	bool loop_is_due = false;

	uv_update_time(p->loop);
	for (int i = 0; i < n; i++) {
		struct poller_watch *w = p->events[i].data.ptr;

		if (w == NULL)
			loop_is_due = true;
		else
			w->cb(w, p->events[i].events);
	}
	poller_call_again(p);
	if (p->after_cb != NULL)
		p->after_cb(p);
	return loop_is_due || uv_backend_timeout(p->loop) == 0;
}

void poller_turn(struct poller *p, bool wait)
{
	bool idle = wait && list_is_empty(&p->again);

	if (poller_dispatch(p, idle ? uv_backend_timeout(p->loop) : 0))
		uv_run(p->loop, UV_RUN_NOWAIT);
}

void poller_run(struct poller *p)
{
	/* The first turn of the loop is what has it watch its own descriptors. */
	uv_run(p->loop, UV_RUN_NOWAIT);
	while (p->fd >= 0 && uv_loop_alive(p->loop))
		poller_turn(p, true);
	uv_run(p->loop, UV_RUN_DEFAULT); /* what was closed after us */
}

void poller_watch_init(struct poller_watch *w, poller_cb cb)
{
	w->cb = cb;
	list_init(&w->again);
}

int poller_add(struct poller *p, int fd, uint32_t events, struct poller_watch *w)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	return epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &e) == 0 ? 0 : -errno;
}

void poller_remove(struct poller *p, int fd)
{
	int rv = epoll_ctl(p->fd, EPOLL_CTL_DEL, fd, NULL);

	assert(rv == 0); /* ENOENT and EBADF would be ours */
	(void)rv;
}

void poller_again(struct poller *p, struct poller_watch *w)
{
	list_remove(&w->again);
	list_append(&p->again, &w->again);
}

void poller_forget(struct poller_watch *w)
{
	list_remove(&w->again);
}
