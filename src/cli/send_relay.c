/* SPDX-License-Identifier: MIT */
/* Happy path:
 * - The header is the first thing in the buffer towards the peer, so stdin is read after it left.
 * - Both directions flow at once, each with a buffer of its own.
 * - stdin ends: half-close. The peer ends: write out what came, send what still comes, done.
 *
 * What can go wrong:
 * - stdout is slow: only what comes from the peer waits for it. We may share stdin and stdout with
 *   other programs, so they keep blocking; poll(2) promises room for PIPE_BUF bytes, and no
 *   write is longer.
 * - The peer ends before stdin does. That may be its half-close or its close; only sending tells. So
 *   input is still sent until it pauses or the peer refuses it.
 * - The peer resets the connection. What it had sent before is still read; whether read or write
 *   meets the error is chance, so either is remembered. */
#include "cli/send_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/command.h"
#include "wire/proxy_header.h"

/* When the peer has ended: a pause of the input that is its end, too [ms]. */
#define PAUSE_MS 100

struct flow {
	int from;
	int to;
	size_t write_max; /* [bytes] */
	bool ended;       /* nothing more comes from @from */
	uint64_t read;    /* [bytes] */
	size_t start;     /* of what still has to be written */
	size_t end;
	char buffer[PROXY_HEADER_MAX];
};

struct relay {
	const char *name;
	struct flow up;   /* stdin to socket */
	struct flow down; /* socket to stdout */
	bool half_closed;
	bool reset;
};

static bool flow_is_full(const struct flow *f)
{
	return f->start < f->end;
}

static bool is_temporary(int error)
{
	return error == EINTR || error == EAGAIN;
}

/* Returns 0 or a negative errno. */
static int flow_read(struct flow *f)
{
	ssize_t n = read(f->from, f->buffer, sizeof f->buffer);

	if (n < 0)
		return is_temporary(errno) ? 0 : -errno;
	f->ended = n == 0;
	f->read += (uint64_t)n;
	f->start = 0;
	f->end = (size_t)n;
	return 0;
}

/* Returns 0 or a negative errno. */
static int flow_write(struct flow *f)
{
	size_t size = f->end - f->start;
	ssize_t n = write(f->to, f->buffer + f->start, size < f->write_max ? size : f->write_max);

	if (n < 0)
		return is_temporary(errno) ? 0 : -errno;
	f->start += (size_t)n;
	return 0;
}

static bool flow_is_over(const struct flow *f)
{
	return f->ended && !flow_is_full(f);
}

static void flow_abandon(struct flow *f)
{
	f->ended = true;
	f->start = f->end;
}

static int fail(const char *what, int rv)
{
	fprintf(stderr, "unproxy: %s: %s\n", what, strerror(-rv));
	return COMMAND_FAILED;
}

static int from_stdin(struct relay *r)
{
	int rv = flow_read(&r->up);

	return rv == 0 ? COMMAND_OK : fail("cannot read stdin", rv);
}

static int to_stdout(struct relay *r)
{
	int rv = flow_write(&r->down);

	return rv == 0 ? COMMAND_OK : fail("cannot write to stdout", rv);
}

/* A peer that does not read any more may still have something to say. */
static void to_socket(struct relay *r)
{
	int rv = flow_write(&r->up);

	if (rv == 0)
		return;
	r->reset = r->reset || rv == -ECONNRESET;
	flow_abandon(&r->up);
}

static int from_socket(struct relay *r)
{
	int rv = flow_read(&r->down);

	if (rv == 0)
		return COMMAND_OK;
	flow_abandon(&r->down);
	flow_abandon(&r->up);
	r->reset = r->reset || rv == -ECONNRESET;
	return r->reset ? COMMAND_OK : fail(r->name, rv);
}

/* Wait for whatever can go on, and let it. */
static int turn(struct relay *r)
{
	bool want_stdin = !r->up.ended && !flow_is_full(&r->up);
	bool want_in = !r->down.ended && !flow_is_full(&r->down);
	bool want_out = flow_is_full(&r->up);
	int events = (want_in ? POLLIN : 0) | (want_out ? POLLOUT : 0);
	struct pollfd p[] = {
		{ .fd = want_stdin ? r->up.from : -1, .events = POLLIN },
		{ .fd = events != 0 ? r->up.to : -1, .events = (short)events },
		{ .fd = flow_is_full(&r->down) ? r->down.to : -1, .events = POLLOUT },
	};
	bool only_stdin = flow_is_over(&r->down) && !want_out;
	int n = poll(p, ARRAY_SIZE(p), only_stdin ? PAUSE_MS : -1);
	int status = COMMAND_OK;

	if (n < 0)
		return errno == EINTR ? COMMAND_OK : fail("poll", -errno);
	if (n == 0)
		flow_abandon(&r->up);
	if (p[0].revents != 0)
		status = from_stdin(r);
	if (p[1].revents != 0 && want_out)
		to_socket(r);
	if (p[1].revents != 0 && want_in && status == COMMAND_OK)
		status = from_socket(r);
	if (p[2].revents != 0 && status == COMMAND_OK)
		status = to_stdout(r);
	if (flow_is_over(&r->up) && !r->half_closed) {
		r->half_closed = true;
		shutdown(r->up.to, SHUT_WR);
	}
	return status;
}

static int report_reset(const struct relay *r)
{
	if (r->down.read == 0)
		fprintf(stderr,
			"unproxy: connection reset by %s: the receiver refused the header or its "
			"sender; see its log\n",
			r->name);
	else
		fprintf(stderr, "unproxy: connection reset by %s after %ju bytes\n", r->name,
			(uintmax_t)r->down.read);
	return COMMAND_FAILED;
}

int send_relay(int fd, const char *name, const void *header, size_t size)
{
	static struct relay r; /* too large for a stack */
	int status = COMMAND_OK;

	assert(size <= sizeof r.up.buffer);
	r = (struct relay){
		.name = name,
		.up = { .from = STDIN_FILENO, .to = fd, .write_max = SIZE_MAX, .end = size },
		.down = { .from = fd, .to = STDOUT_FILENO, .write_max = PIPE_BUF },
	};
	memcpy(r.up.buffer, header, size);
	signal(SIGPIPE, SIG_IGN);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
		return fail(name, -errno);
	while (status == COMMAND_OK && !(flow_is_over(&r.up) && flow_is_over(&r.down)))
		status = turn(&r);
	if (status == COMMAND_OK && r.reset)
		status = report_reset(&r);
	return status;
}
