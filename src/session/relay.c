/* SPDX-License-Identifier: MIT */
/* Happy path: what is read from one end is written to the other at once, from a scratch buffer that
 * all sessions of a worker share. A direction that proves to be bulk goes through a pipe with splice(2)
 * instead, which costs a quarter of the CPU time; for small messages a read and a write are cheaper.
 * FIN is passed on with shutdown(2) when all before it is written.
 *
 * What can go wrong:
 * - The other side takes only part of it: the rest is copied and held, or stays in the pipe, and
 *   this end is not read again until it has gone. That is the back-pressure, and the bound on memory.
 * - There is no pipe, or no splice(2): go on copying.
 * - An end breaks while being written to: what it had sent before is still delivered, then its
 *   owner is told.
 * - Events and calls race: a short read means "nothing more now" only while no FIN is known, for
 *   the FIN that comes with data is reported just once. */
#include "session/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Reads of one flow before others have their turn: a sender faster than us must not starve them. A splice is a
 * turn of its own: with many bulk directions, what comes in meanwhile makes the next one larger. */
#define RELAY_TURN 16

/* Reads in a row of at least RELAY_BULK bytes make a direction bulk; as many of less than RELAY_SMALL
 * end that. Between the two it stays what it is. */
#define RELAY_STREAK 4
#define RELAY_BULK   ((size_t)32 * 1024)
#define RELAY_SMALL  ((size_t)8 * 1024)

/* Turns to drain what an end had sent before it broke: at least 8 MiB, more than a receive buffer holds. */
#define RELAY_LAST_TURNS 32

enum flow_status {
	FLOW_WAIT,
	FLOW_MORE,
	FLOW_READ_BROKEN,
	FLOW_WRITE_BROKEN,
};

void relay_init(struct relay *r)
{
	memset(r, 0, sizeof *r);
	r->side[RELAY_CLIENT].fd = -1;
	r->side[RELAY_UPSTREAM].fd = -1;
}

void relay_fini(struct relay *r, struct relay_shared *shared)
{
	for (int end = RELAY_CLIENT; end <= RELAY_UPSTREAM; end++) {
		struct relay_flow *f = &r->flow[end];

		free(f->held);
		if (f->pipe != NULL)
			relay_pipes_discard(&shared->pipes, f->pipe);
	}
}

void relay_set_socket(struct relay *r, enum relay_end end, int fd)
{
	r->side[end] = (struct relay_side){ .fd = fd, .writable = true };
}

void relay_note_events(struct relay *r, enum relay_end end, uint32_t events)
{
	struct relay_side *side = &r->side[end];

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		side->readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		side->writable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		side->hung_up = true;
	if (events & EPOLLERR)
		side->failed = true;
}

/* Returns the bytes the socket took, 0 if it takes none now, or a negative errno. */
static int64_t side_write(struct relay_side *side, const uint8_t *data, size_t size)
{
	ssize_t n;

	if (!side->writable)
		return 0;
	do
		n = send(side->fd, data, size, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0) {
		side->writable = (size_t)n == size;
		return n;
	}
	if (errno != EAGAIN)
		return -errno;
	side->writable = false;
	return 0;
}

/* Takes @data. */
static void flow_hold(struct relay_flow *f, uint8_t *data, size_t size)
{
	assert(f->held == NULL && size > 0 && size <= UINT32_MAX);
	f->held = data;
	f->held_at = 0;
	f->held_size = (uint32_t)size;
}

static int flow_hold_copy(struct relay_flow *f, const uint8_t *data, size_t size)
{
	uint8_t *copy;

	assert(size <= RELAY_CHUNK);
	copy = malloc(size);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, data, size);
	flow_hold(f, copy, size);
	return 0;
}

/* Write @data, and hold what is not taken. Returns the bytes taken or a negative errno. */
static int64_t flow_write(struct relay_flow *f, struct relay_side *to, const uint8_t *data,
			  size_t size)
{
	int64_t n = side_write(to, data, size);
	int rv;

	if (n < 0)
		return n;
	f->bytes += n;
	if ((size_t)n == size)
		return n;
	rv = flow_hold_copy(f, data + n, size - (size_t)n);
	return rv != 0 ? rv : n;
}

/* Write what is held; some of it may stay. Returns the bytes taken or a negative errno. */
static int64_t flow_write_held(struct relay_flow *f, struct relay_side *to)
{
	int64_t n = side_write(to, f->held + f->held_at, f->held_size - f->held_at);

	if (n < 0)
		return n;
	f->bytes += n;
	f->held_at += (uint32_t)n;
	if (f->held_at == f->held_size) {
		free(f->held);
		f->held = NULL;
	}
	return n;
}

/* Write what is in the pipe. Returns 0, also if some of it stays, or a negative errno. */
static int flow_write_piped(struct relay_flow *f, struct relay_side *to)
{
	while (f->piped > 0 && to->writable) {
		ssize_t n = splice(f->pipe->out, NULL, to->fd, NULL, f->piped,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n > 0) {
			f->bytes += n;
			f->piped -= (uint32_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			to->writable = false;
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* Write what is in flight; some of it may stay. Returns a negative errno if the other side is broken. */
static int64_t flow_flush(struct relay_flow *f, struct relay_side *to)
{
	if (f->held != NULL)
		return flow_write_held(f, to);
	if (f->piped > 0)
		return flow_write_piped(f, to);
	return 0;
}

static bool flow_in_flight(const struct relay_flow *f)
{
	return f->held != NULL || f->piped > 0;
}

/* Change the way of moving bytes when RELAY_STREAK reads in a row have spoken for it. */
static void flow_consider(struct relay_flow *f, bool for_change)
{
	f->streak = for_change ? f->streak + 1 : 0;
	if (f->streak < RELAY_STREAK)
		return;
	f->streak = 0;
	f->splicing = !f->splicing;
}

/* A read or splice that gave nothing: not now, never again, or broken. */
static int flow_read_nothing(struct relay_flow *f, struct relay_side *from, ssize_t n)
{
	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0 && errno != EAGAIN)
		return -errno;
	from->readable = false;
	f->ended = n == 0;
	return 0;
}

/* Read once, and write. Returns FLOW_MORE if another turn may move more. */
static enum flow_status flow_copy(struct relay_flow *f, struct relay_side *from,
				  struct relay_side *to, uint8_t *scratch)
{
	ssize_t n = recv(from->fd, scratch, RELAY_CHUNK, 0);

	if (n <= 0)
		return flow_read_nothing(f, from, n) < 0 ? FLOW_READ_BROKEN : FLOW_MORE;
	if ((size_t)n < RELAY_CHUNK && !from->hung_up)
		from->readable = false;
	flow_consider(f, (size_t)n >= RELAY_BULK);
	return flow_write(f, to, scratch, (size_t)n) < 0 ? FLOW_WRITE_BROKEN : FLOW_MORE;
}

/* The same through the pipe, which is empty: EAGAIN is the socket's word, not the pipe's. A short read
 * says nothing here, for a pipe can also be full of small pieces. */
static enum flow_status flow_splice(struct relay_flow *f, struct relay_side *from,
				    struct relay_side *to)
{
	ssize_t n = splice(from->fd, NULL, f->pipe->in, NULL, RELAY_PIPE_SIZE,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n <= 0)
		return flow_read_nothing(f, from, n) < 0 ? FLOW_READ_BROKEN : FLOW_MORE;
	f->piped = (uint32_t)n;
	flow_consider(f, (size_t)n < RELAY_SMALL);
	return flow_write_piped(f, to) < 0 ? FLOW_WRITE_BROKEN : FLOW_MORE;
}

/* The pipe goes back as soon as it is empty and there is nothing to read. */
static void flow_give_pipe_back(struct relay_flow *f, struct relay_pipes *pipes)
{
	if (f->pipe == NULL || f->piped > 0)
		return;
	relay_pipes_put(pipes, f->pipe);
	f->pipe = NULL;
}

static enum flow_status flow_move(struct relay_flow *f, struct relay_side *from,
				  struct relay_side *to, struct relay_shared *shared)
{
	if (f->splicing && f->pipe == NULL) {
		f->pipe = relay_pipes_get(&shared->pipes);
		f->splicing = f->pipe != NULL;
	}
	if (f->splicing)
		return flow_splice(f, from, to);
	return flow_copy(f, from, to, shared->scratch);
}

/* FIN has come and everything before it is written: let the other side know, unless its own
 * FIN is here too and both sockets are about to be closed anyway. */
static void flow_pass_end_on(struct relay_flow *f, const struct relay_flow *back,
			     const struct relay_side *to)
{
	if (!back->ended || flow_in_flight(back))
		shutdown(to->fd, SHUT_WR); /* ENOTCONN: it is gone, as its next event will say */
	f->passed_on = true;
}

/* Move one direction until it would block, has ended, or has had its turn. */
static enum flow_status flow_pump(struct relay *r, enum relay_end end, struct relay_shared *shared)
{
	struct relay_flow *f = &r->flow[end];
	struct relay_side *from = &r->side[end];
	struct relay_side *to = &r->side[!end];

	for (unsigned turn = 0; turn < RELAY_TURN; turn++) {
		enum flow_status status;

		if (flow_flush(f, to) < 0)
			return FLOW_WRITE_BROKEN;
		if (f->ended && !f->passed_on && !flow_in_flight(f))
			flow_pass_end_on(f, &r->flow[!end], to);
		if (f->ended || flow_in_flight(f)) /* no read would tell us of a reset */
			return from->failed ? FLOW_READ_BROKEN : FLOW_WAIT;
		if (!from->readable)
			return FLOW_WAIT;
		status = flow_move(f, from, to, shared);
		if (status != FLOW_MORE || (f->splicing && f->piped == 0 && from->readable))
			return status;
	}
	return FLOW_MORE;
}

static enum relay_status relay_reset_by(enum relay_end end)
{
	return end == RELAY_CLIENT ? RELAY_CLIENT_RESET : RELAY_UPSTREAM_RESET;
}

int64_t relay_send_first(struct relay *r, const uint8_t *data, size_t size)
{
	struct relay_flow *f = &r->flow[RELAY_CLIENT];
	struct relay_side *to = &r->side[RELAY_UPSTREAM];

	if (f->held != NULL) {
		assert(size == 0);
		return flow_write_held(f, to);
	}
	return size > 0 ? flow_write(f, to, data, size) : 0;
}

int relay_hold_first(struct relay *r, const uint8_t *data, size_t size)
{
	return flow_hold_copy(&r->flow[RELAY_CLIENT], data, size);
}

void relay_hold_preface(struct relay *r, uint8_t *data, size_t size, size_t preface)
{
	struct relay_flow *f = &r->flow[RELAY_CLIENT];

	assert(f->bytes == 0 && preface <= size);
	flow_hold(f, data, size);
	f->bytes = -(int64_t)preface;
}

/* @end broke while being written to. An application may refuse the rest of a request and reset: its
 * answer lies unread before the reset, and is still delivered. The write has taken the error from the socket,
 * so that reading ends as if in order; that end is not passed on. */
static void relay_drain_broken(struct relay *r, enum relay_end end, struct relay_shared *shared)
{
	r->side[end].readable = true;
	r->side[end].hung_up = true;
	r->flow[end].passed_on = true;
	for (unsigned turn = 0; turn < RELAY_LAST_TURNS; turn++)
		if (flow_pump(r, end, shared) != FLOW_MORE)
			return;
}

enum relay_status relay_pump(struct relay *r, struct relay_shared *shared)
{
	bool more = false;

	for (int end = RELAY_CLIENT; end <= RELAY_UPSTREAM; end++) {
		enum flow_status status = flow_pump(r, (enum relay_end)end, shared);

		flow_give_pipe_back(&r->flow[end], &shared->pipes);
		switch (status) {
		case FLOW_WAIT:
			break;
		case FLOW_MORE:
			more = true;
			break;
		case FLOW_READ_BROKEN:
			return relay_reset_by((enum relay_end)end);
		case FLOW_WRITE_BROKEN:
			relay_drain_broken(r, (enum relay_end) !end, shared);
			return relay_reset_by((enum relay_end) !end);
		}
	}
	if (r->flow[RELAY_CLIENT].passed_on && r->flow[RELAY_UPSTREAM].passed_on)
		return RELAY_FINISHED;
	return more ? RELAY_MORE : RELAY_WAIT;
}
