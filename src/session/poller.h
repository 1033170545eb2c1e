/* SPDX-License-Identifier: MIT */
/* The sockets' event source: an epoll(7) set of our own, with the libuv loop inside it.
 *
 * Why not uv_poll_t or uv_tcp_t per socket: those cost 22 to 28 system calls a short connection,
 * this 15. A socket is registered once, edge-triggered, for everything, and closing it is all it takes to
 * leave. And why the loop is inside the set and not the set inside the loop: a thread that wakes up for a
 * socket then makes one call to wait instead of two, which is 12 % of the CPU time of a lone round trip. */
#ifndef POLLER_H
#define POLLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <uv.h>

#include "base/bug.h"
#include "base/list.h"

struct poller;
struct poller_watch;

/* @events are epoll_wait(2)'s, or 0 after poller_again(). Edge-triggered: what is not used up now is not
 * reported again. */
typedef void (*poller_cb)(struct poller_watch *w, uint32_t events);

/* One socket's callback; lies inside what owns the socket. It must stay in memory until the round
 * that may still hold an event for it has ended: until the poller's after_cb. */
struct poller_watch {
	poller_cb cb;
	struct list again; /* in poller.again, or in none */
};

#define POLLER_ROUND 256 /* events a system call */

struct poller {
	uv_loop_t *loop;
	int fd;                             /* -1: closed */
	struct list again;                  /* watches to be called without an event */
	void (*after_cb)(struct poller *p); /* after each round of events, or NULL */
	struct epoll_event events[POLLER_ROUND];
};

#define POLLER_SOCKET (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* Returns 0 or a negative errno with nothing left open. @loop is borrowed until poller_close(); no handle that watches
 * a descriptor of its own may be added to it once poller_run() runs. */
int poller_open(struct poller *p, uv_loop_t *loop) MUST_CHECK;

/* Legal in a callback. Every watch is forgotten. */
void poller_close(struct poller *p);

/* Run the loop and our events, in place of uv_run(3), until nothing keeps the loop alive. */
void poller_run(struct poller *p);

/* One round of that. @wait: block until there is something to do. */
void poller_turn(struct poller *p, bool wait);

void poller_watch_init(struct poller_watch *w, poller_cb cb);

/* Watch @fd for @events (POLLER_SOCKET for a session's). Closing @fd ends it. What is already there is reported.
 * Returns 0 or a negative errno. */
int poller_add(struct poller *p, int fd, uint32_t events, struct poller_watch *w) MUST_CHECK;

/* Stop watching @fd, which stays open. It was added. */
void poller_remove(struct poller *p, int fd);

/* Call @w in the next round, without an event: it has more to do, but others should have a turn first. */
void poller_again(struct poller *p, struct poller_watch *w);

/* Take that back; for a watch whose owner is about to go. */
void poller_forget(struct poller_watch *w);

#endif
