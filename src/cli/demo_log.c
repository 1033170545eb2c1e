/* SPDX-License-Identifier: MIT */
#include "cli/demo_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "obs/log.h"

#define COLUMNS 79

/* Lines come within milliseconds [ms]. */
#define PATIENCE_MS 5000

/* How long the end of the log may take [ms]. */
#define FLUSH_MS 1000

int demo_log_open(struct demo_log *l)
{
	char path[32];
	int fds[2];
	int rv;

	*l = (struct demo_log){ .fd = -1 };
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	snprintf(path, sizeof path, "/dev/fd/%d", fds[1]);
	rv = log_create(path, LOG_TEXT, LOG_INFO, &l->log);
	close(fds[1]);
	if (rv != 0) {
		close(fds[0]);
		return rv;
	}
	l->fd = fds[0];
	return 0;
}

/* Break at spaces; what goes on is indented. */
static void show_line(const char *line, size_t size)
{
	size_t indent = 3;

	while (size > 0) {
		size_t room = COLUMNS - indent;
		size_t part = size;

		if (size > room) {
			const char *space = memrchr(line, ' ', room + 1);

			part = space != NULL && space != line ? (size_t)(space - line) : room;
		}
		fprintf(stderr, "%*s%.*s\n", (int)indent, "", (int)part, line);
		line += part;
		size -= part;
		while (size > 0 && *line == ' ') {
			line++;
			size--;
		}
		indent = 5;
	}
}

/* Show the first line, if there is a whole one, and forget it. Returns whether it has @text in it. */
static bool take_line(struct demo_log *l, const char *text, bool *retfound)
{
	char *end = memchr(l->data, '\n', l->used);
	size_t size;

	if (end == NULL)
		return false;
	*end = '\0';
	size = (size_t)(end - l->data);
	show_line(l->data, size);
	*retfound = text != NULL && strstr(l->data, text) != NULL;
	l->used -= size + 1;
	memmove(l->data, end + 1, l->used);
	return true;
}

/* Returns false at the end, and if nothing comes for too long. */
static bool read_more(struct demo_log *l, int wait_ms)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	ssize_t n;

	if (l->used == sizeof l->data) /* no line of ours is that long */
		l->used = 0;
	if (poll(&p, 1, wait_ms) == 0)
		return false;
	n = read(l->fd, l->data + l->used, sizeof l->data - l->used);
	if (n <= 0)
		return n < 0 && errno == EINTR;
	l->used += (size_t)n;
	return true;
}

static bool show(struct demo_log *l, const char *text, int wait_ms)
{
	bool found = false;

	do {
		while (!found && take_line(l, text, &found))
			;
	} while (!found && read_more(l, wait_ms));
	return found;
}

bool demo_log_show_until(struct demo_log *l, const char *text)
{
	return show(l, text, PATIENCE_MS);
}

static void *follow(void *arg)
{
	show(arg, NULL, -1);
	return NULL;
}

void demo_log_follow(struct demo_log *l)
{
	l->following = pthread_create(&l->follower, NULL, follow, l) == 0;
}

void demo_log_close(struct demo_log *l)
{
	log_destroy(l->log, FLUSH_MS);
	if (l->following)
		pthread_join(l->follower, NULL);
	close(l->fd);
}
