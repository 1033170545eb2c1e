/* SPDX-License-Identifier: MIT */
/* The sockets' event source: an epoll(7) set of our own, itself watched by one uv_poll_t.
 *
 * Why not uv_poll_t or uv_tcp_t per socket: those cost 22 to 28 system calls a short connection,
 * this 18 or fewer. A socket is registered once, edge-triggered, for everything, and closing it
 * is all it takes to leave. */
#ifndef POLLER_H
#define POLLER_H

#include <stdint.h>
#include <sys/epoll.h>

#include <uv.h>

#include "base/bug.h"

struct poller;
struct poller_watch;

/* @events are epoll_wait(2)'s. Edge-triggered: what is not used up now is not reported again. */
typedef void (*poller_cb)(struct poller_watch *w, uint32_t events);

/* One socket's callback; lies inside what owns the socket. It must stay in memory until the round
 * that may still hold an event for it has ended: until the poller's after_cb. */
struct poller_watch {
	poller_cb cb;
};

#define POLLER_ROUND 256 /* events a system call */

struct poller {
	int fd;
	uv_poll_t poll;
	void (*after_cb)(struct poller *p); /* after each round of events, or NULL */
	struct epoll_event events[POLLER_ROUND];
};

#define POLLER_SOCKET (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* Returns 0 or a negative errno with nothing left open. */
int poller_open(struct poller *p, uv_loop_t *loop) MUST_CHECK;

/* Asynchronous. */
void poller_close(struct poller *p, uv_close_cb cb);

/* Watch @fd for @events (POLLER_SOCKET for a session's). Closing @fd ends it. What is already there is reported.
 * Returns 0 or a negative errno. */
int poller_add(struct poller *p, int fd, uint32_t events, struct poller_watch *w) MUST_CHECK;

/* Have what is still there reported again. @fd was added. */
void poller_repeat(struct poller *p, int fd, struct poller_watch *w);

/* Stop watching @fd, which stays open. It was added. */
void poller_remove(struct poller *p, int fd);

#endif
