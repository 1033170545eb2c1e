/* SPDX-License-Identifier: MIT */
/* Happy path: the timer says that a check is due; connect, and the kernel of the upstream answers that somebody listens.
 * The connection is given up before that kernel knows that it exists: it gets a reset where it waits for the
 * third packet of the handshake. So the application neither accepts nor logs anything, which after a FIN or a
 * later reset it would (MySQL even bans hosts that connect and leave). A unix socket has no such handshake: its
 * application sees a connection that ends.
 *
 * What can go wrong:
 * - An address refuses, or does not answer: the next one; then the name is looked up again, once; then it is down. All of
 *   it has the time of one connection of a client, but no more than the interval.
 * - We are short of descriptors or memory: that is not the upstream's fault, so its health stays what it was.
 * - It is destroyed meanwhile: what is under way ends first, then the memory goes. */
#include "server/upstream_check.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/socket.h"
#include "conf/config.h"
#include "session/upstream.h"

enum upstream_check_phase {
	CHECK_IDLE,
	CHECK_CONNECT, /* `poll` is open or closing */
	CHECK_RESOLVE,
};

struct upstream_check {
	uv_loop_t *loop;
	struct config *config; /* a reference */
	const struct listener_config *listener;
	uint64_t (*answered_ns)(void *data);
	void (*changed)(void *data);
	void *data;
	struct upstream
	    upstream[2]; /* the second one only if it is a pair: then both must accept */
	unsigned upstream_count;
	unsigned current; /* of `upstream` */
	unsigned attempt; /* address of it */
	bool looked_up;   /* its addresses are as new as can be */
	bool late;        /* no time is left */
	int error;        /* of the last attempt */
	enum upstream_check_phase phase;
	uv_timer_t timer; /* the next check, or the end of this one */
	bool timer_open;
	uv_poll_t poll;
	int fd;              /* -1: none */
	uint64_t started_ms; /* uv_now() */
	bool destroyed;
	enum upstream_health health;
	char reason[UPSTREAM_CHECK_REASON_MAX];
};

static void check_on_timer(uv_timer_t *timer);
static void check_advance(struct upstream_check *c);
static void check_release(struct upstream_check *c);

static void check_wait(struct upstream_check *c, uint64_t ms)
{
	uv_timer_start(&c->timer, check_on_timer, ms, 0); /* cannot fail */
}

/* --- what came of it --- */

static void check_end(struct upstream_check *c, enum upstream_health health)
{
	uint64_t took_ms = uv_now(c->loop) - c->started_ms;
	uint64_t interval_ms = c->listener->upstream_check_interval_ms;
	bool is_news = health != c->health;

	c->phase = CHECK_IDLE;
	c->health = health;
	if (health != UPSTREAM_DOWN)
		c->reason[0] = '\0';
	check_wait(c, took_ms < interval_ms ? interval_ms - took_ms : 0);
	if (is_news)
		c->changed(c->data);
}

static unsigned check_limit_ms(const struct upstream_check *c)
{
	const struct listener_config *l = c->listener;

	return l->upstream_check_interval_ms < l->connect_timeout_ms ? l->upstream_check_interval_ms
								     : l->connect_timeout_ms;
}

static void check_fail(struct upstream_check *c)
{
	const char *text = c->upstream[c->current].endpoint->text;

	switch (c->error) {
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOMEM:
		check_end(c, c->health);
		return;
	case -EAGAIN: /* of a unix socket */
		snprintf(c->reason, sizeof c->reason,
			 "%s: too many connections wait for it to accept them", text);
		break;
	case -ETIMEDOUT:
		snprintf(c->reason, sizeof c->reason, "%s: no answer within %u ms", text,
			 check_limit_ms(c));
		break;
	default:
		snprintf(c->reason, sizeof c->reason, "%s: %s", text, uv_strerror(c->error));
		break;
	}
	check_end(c, UPSTREAM_DOWN);
}

/* --- connecting --- */

static bool is_writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1;
}

/* Start to connect so that closing can come before our part of the handshake: that is delayed by 40 ms at least, and
 * then replaced by a reset. An answer from this machine is there at once, so it is not left to the loop, which has
 * other things to do. Returns as upstream_connect() does. */
static int connect_unnoticed(const struct address *a, int *ret_fd)
{
	const int off = 0;
	struct sockaddr_storage ss;
	socklen_t size = address_to_sockaddr(a, &ss);
	int fd = socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rv;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
	socket_reset_on_close(fd);
	rv = connect(fd, (const struct sockaddr *)&ss, size) == 0 ? 0 : -errno;
	if (rv == -EINPROGRESS)
		rv = is_writable(fd) ? socket_take_error(fd) : 1;
	if (rv < 0)
		close(fd);
	else
		*ret_fd = fd;
	return rv;
}

static void check_on_poll_closed(uv_handle_t *handle);

/* The attempt has come to an end: c->error. libuv does not look at the socket any more. */
static void check_leave(struct upstream_check *c)
{
	uv_close((uv_handle_t *)&c->poll, check_on_poll_closed);
	close(c->fd);
	c->fd = -1;
}

static void check_on_answer(uv_poll_t *poll, int status, int events)
{
	struct upstream_check *c = poll->data;

	(void)events;
	(void)status; /* libuv calls any error of the socket EBADF */
	c->error = socket_take_error(c->fd);
	check_leave(c);
}

/* Returns 0: check_on_poll_closed() follows; 1: connected already; or a negative errno. */
static int check_try_address(struct upstream_check *c)
{
	const struct upstream *u = &c->upstream[c->current];
	const struct address *a = &u->addresses.list[c->attempt];
	int rv = a->family == AF_UNIX ? upstream_connect(u, c->attempt, &c->fd)
				      : connect_unnoticed(a, &c->fd);

	if (rv < 0)
		return rv;
	if (rv == 0) {
		close(c->fd);
		c->fd = -1;
		return 1;
	}
	rv = uv_poll_init(c->loop, &c->poll, c->fd);
	if (rv != 0) {
		close(c->fd);
		c->fd = -1;
		return rv;
	}
	c->poll.data = c;
	c->phase = CHECK_CONNECT;
	uv_poll_start(&c->poll, UV_WRITABLE, check_on_answer); /* cannot fail on an open handle */
	return 0;
}

/* --- from one step to the next --- */

static void check_on_resolved(struct upstream *u, int status)
{
	struct upstream_check *c = u->data;

	(void)status; /* without an answer the addresses are the old ones */
	if (c->destroyed) {
		check_release(c);
	} else if (c->phase == CHECK_RESOLVE && u == &c->upstream[c->current]) {
		c->attempt = 0;
		check_advance(c);
	} /* otherwise too late for the check that asked, but good for the next one */
}

/* No address has accepted. Returns true if the resolver was asked for others. */
static bool check_resolve(struct upstream_check *c)
{
	struct upstream *u = &c->upstream[c->current];

	if (u->endpoint->kind != ENDPOINT_NAME || c->looked_up || c->late)
		return false;
	c->looked_up = true;
	if (upstream_resolve(u, c->loop, check_on_resolved) != 0)
		return false;
	c->phase = CHECK_RESOLVE;
	return true;
}

static void check_begin_upstream(struct upstream_check *c, unsigned which)
{
	c->current = which;
	c->attempt = 0;
	c->looked_up = false;
	c->error = -EADDRNOTAVAIL;
}

/* Go on with the address that is due, until something has to be waited for. */
static void check_advance(struct upstream_check *c)
{
	while (!c->late && c->attempt < c->upstream[c->current].addresses.count) {
		c->error = check_try_address(c);
		if (c->error == 0)
			return;
		if (c->error < 0) {
			c->attempt++;
			continue;
		}
		if (c->current + 1 == c->upstream_count) {
			check_end(c, UPSTREAM_UP);
			return;
		}
		check_begin_upstream(c, c->current + 1);
	}
	if (!check_resolve(c))
		check_fail(c);
}

static void check_on_poll_closed(uv_handle_t *handle)
{
	struct upstream_check *c = handle->data;

	c->phase = CHECK_IDLE;
	if (c->destroyed) {
		check_release(c);
	} else if (c->error != 0) {
		c->attempt++;
		check_advance(c);
	} else if (c->current + 1 < c->upstream_count) {
		check_begin_upstream(c, c->current + 1);
		check_advance(c);
	} else {
		check_end(c, UPSTREAM_UP);
	}
}

/* --- the timer --- */

/* A client's connection tells as much as ours would; but not which half of a pair has answered. */
static bool check_is_needless(const struct upstream_check *c)
{
	uint64_t answered_ns = c->answered_ns(c->data);
	uint64_t interval_ns = (uint64_t)c->listener->upstream_check_interval_ms * 1000000;

	return c->upstream_count == 1 && answered_ns != 0 &&
	       answered_ns + interval_ns > uv_hrtime();
}

static void check_begin(struct upstream_check *c)
{
	c->started_ms = uv_now(c->loop);
	c->late = false;
	if (check_is_needless(c)) {
		check_end(c, UPSTREAM_UP);
		return;
	}
	check_begin_upstream(c, 0);
	check_wait(c, check_limit_ms(c));
	check_advance(c);
}

static void check_on_timer(uv_timer_t *timer)
{
	struct upstream_check *c = timer->data;

	c->late = true;
	switch (c->phase) {
	case CHECK_IDLE:
		check_begin(c);
		break;
	case CHECK_CONNECT:
		if (c->fd < 0)
			break; /* it has just come to an end by itself */
		c->error = -ETIMEDOUT;
		check_leave(c);
		break;
	case CHECK_RESOLVE: /* it is down for what connecting said */
		check_fail(c);
		break;
	}
}

/* --- its life --- */

int upstream_check_create(const struct upstream_check_options *options, struct upstream_check **ret)
{
	struct upstream_check *c = calloc(1, sizeof *c);

	if (c == NULL)
		return -ENOMEM;
	c->loop = options->loop;
	c->config = config_ref(options->config);
	c->listener = options->listener;
	c->answered_ns = options->answered_ns;
	c->changed = options->changed;
	c->data = options->data;
	c->fd = -1;
	c->upstream_count = c->listener->upstream_is_pair ? 2 : 1;
	for (unsigned i = 0; i < 2; i++)
		upstream_init(&c->upstream[i], &c->listener->upstream[i], &options->addresses[i],
			      c);
	uv_timer_init(c->loop, &c->timer); /* cannot fail */
	c->timer.data = c;
	c->timer_open = true;
	check_wait(c, 0);
	*ret = c;
	return 0;
}

enum upstream_health upstream_check_health(const struct upstream_check *c)
{
	return c->health;
}

const char *upstream_check_reason(const struct upstream_check *c)
{
	return c->reason;
}

/* Destroyed: the last of what was under way frees. */
static void check_release(struct upstream_check *c)
{
	if (c->timer_open || c->phase == CHECK_CONNECT || c->upstream[0].resolving ||
	    c->upstream[1].resolving)
		return;
	config_unref(c->config);
	free(c);
}

static void check_on_timer_closed(uv_handle_t *handle)
{
	struct upstream_check *c = handle->data;

	c->timer_open = false;
	check_release(c);
}

void upstream_check_destroy(struct upstream_check *c)
{
	if (c == NULL)
		return;
	c->destroyed = true;
	if (c->fd >= 0)
		check_leave(c);
	for (unsigned i = 0; i < 2; i++)
		upstream_stop(&c->upstream[i]);
	uv_close((uv_handle_t *)&c->timer, check_on_timer_closed);
}
