/* SPDX-License-Identifier: MIT */
/* Writing log lines to a file descriptor that may be anything.
 *
 * Happy path:
 * - write(2) takes the whole block.
 *
 * What can go wrong:
 * - A pipe or terminal is full: a blocking one blocks us, one with O_NONBLOCK (which another
 *   process sharing it may have set) says EAGAIN and we poll(2).
 * - The disk is full, the reader is gone, the descriptor is closed: the rest of the block is lost and
 *   counted. The next block is tried again: rotation, a new reader or free space may have helped.
 * - A write stops within a line: the next one begins with a newline, so that only one line is torn.
 * - Another process writes there too, such as the unproxy that takes over from us: when it is full, a pipe or socket keeps
 *   no more than PIPE_BUF bytes together (pipe(7)), so it gets whole lines, and not more than that at a time. */
#include "obs/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long an abandoned writer may still wait for room [ms]. */
#define ABANDON_CHECK_MS 1000

/* With O_NONBLOCK a FIFO that nobody reads is an error now, not a process that hangs. */
static int open_path(const char *path)
{
	int fd =
	    open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

	return fd < 0 ? -errno : fd;
}

int log_output_open(struct log_output *o, const char *name)
{
	*o = (struct log_output){ .fd = -1 };
	if (strcmp(name, "stderr") == 0) {
		o->fd = STDERR_FILENO;
		return 0;
	}
	if (strcmp(name, "stdout") == 0) {
		o->fd = STDOUT_FILENO;
		return 0;
	}
	o->path = strdup(name);
	if (o->path == NULL)
		return -ENOMEM;
	o->fd = open_path(name);
	if (o->fd < 0) {
		free(o->path);
		return o->fd;
	}
	return 0;
}

void log_output_close(struct log_output *o)
{
	if (o->path == NULL)
		return;
	close(o->fd);
	free(o->path);
}

int log_output_reopen(struct log_output *o)
{
	int fd;

	if (o->path == NULL)
		return 0;
	fd = open_path(o->path);
	if (fd < 0)
		return fd;
	close(o->fd);
	o->fd = fd;
	if (lseek(fd, 0, SEEK_END) == 0)
		o->torn = false; /* the torn line stayed in the old file */
	return 0;
}

void log_output_replace(struct log_output *o, const struct log_output *next)
{
	log_output_close(o);
	o->fd = next->fd;
	o->path = next->path;
	o->torn = next->torn;
}

void log_output_abandon(struct log_output *o)
{
	atomic_store(&o->abandoned, true);
}

/* Returns false when waiting is over: somebody gave us up, or poll(2) does not work. */
static bool wait_for_room(struct log_output *o)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };

	for (;;) {
		int n = poll(&p, 1, ABANDON_CHECK_MS);

		if (atomic_load(&o->abandoned))
			return false;
		if (n > 0)
			return true; /* or an error, which the next write names */
		if (n < 0 && errno != EINTR)
			return false;
	}
}

/* A file takes a write of any size as one. */
static bool is_file(const struct log_output *o)
{
	struct stat st;

	return fstat(o->fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* How much of @data stays together: lines, or one that is too long for that. */
static size_t piece_size(const char *data, size_t size)
{
	const char *end;

	if (size <= PIPE_BUF)
		return size;
	end = memrchr(data, '\n', PIPE_BUF);
	if (end == NULL)
		end = memchr(data + PIPE_BUF, '\n', size - PIPE_BUF);
	return end == NULL ? size : (size_t)(end - data) + 1;
}

/* Returns how many bytes were written. */
static size_t write_all(struct log_output *o, const char *data, size_t size)
{
	bool at_once = size <= PIPE_BUF || is_file(o);
	size_t done = 0;

	while (done < size && !atomic_load(&o->abandoned)) {
		size_t left = size - done;
		ssize_t n =
		    write(o->fd, data + done, at_once ? left : piece_size(data + done, left));

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n == 0 || errno != EAGAIN || !wait_for_room(o))
			break;
	}
	return done;
}

static uint64_t count_lines(const char *data, size_t size)
{
	const char *end = data + size;
	uint64_t lines = 0;

	for (const char *at = data; at < end; lines++) {
		at = memchr(at, '\n', (size_t)(end - at));
		if (at == NULL)
			break;
		at++;
	}
	return lines;
}

uint64_t log_output_write(struct log_output *o, const char *lines, size_t size)
{
	size_t done;

	if (o->torn && write_all(o, "\n", 1) == 0)
		return count_lines(lines, size);
	o->torn = false;
	done = write_all(o, lines, size);
	if (done > 0)
		o->torn = lines[done - 1] != '\n';
	return count_lines(lines + done, size - done);
}
