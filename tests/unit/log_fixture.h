/* SPDX-License-Identifier: MIT */
/* A log on a real pipe or file, and ways to see what arrived. Lines carry numbers, so that what
 * arrived and what was dropped must add up. */
#ifndef LOG_FIXTURE_H
#define LOG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "obs/log.h"

/* For what should take milliseconds, on a machine that may be busy [ms]. */
#define PATIENCE_MS 20000

#define LINE_SIZE 100 /* with its newline */

struct fixture {
	char directory[32];
	char path[48];    /* in it */
	char rotated[48]; /* likewise */
	int pipe[2];
	char pipe_path[32]; /* opens the writing end anew, without blocking */
	int saved_stdout;   /* -1: not replaced */
	struct log *log;
	struct log_buffer *buffer;
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->directory, "/tmp/test_log.XXXXXX");
	if (mkdtemp(f->directory) == NULL || pipe(f->pipe) != 0)
		return -1;
	snprintf(f->path, sizeof f->path, "%s/log", f->directory);
	snprintf(f->rotated, sizeof f->rotated, "%s/log.1", f->directory);
	snprintf(f->pipe_path, sizeof f->pipe_path, "/dev/fd/%d", f->pipe[1]);
	f->saved_stdout = -1;
	*state = f;
	return 0;
}

static inline void restore_stdout(struct fixture *f)
{
	if (f->saved_stdout < 0)
		return;
	dup2(f->saved_stdout, STDOUT_FILENO);
	close(f->saved_stdout);
	f->saved_stdout = -1;
}

static inline void close_end(struct fixture *f, int end)
{
	if (f->pipe[end] >= 0)
		close(f->pipe[end]);
	f->pipe[end] = -1;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	log_destroy(f->log, PATIENCE_MS);
	restore_stdout(f);
	close_end(f, 0);
	close_end(f, 1);
	unlink(f->path);
	unlink(f->rotated);
	rmdir(f->directory);
	free(f);
	return 0;
}

static inline void start(struct fixture *f, const char *output, enum log_format format)
{
	assert_int_equal(log_create(output, format, LOG_INFO, &f->log), 0);
	f->buffer = log_buffer_create(f->log);
	assert_non_null(f->buffer);
}

static inline void stop(struct fixture *f)
{
	log_destroy(f->log, PATIENCE_MS);
	f->log = NULL;
}

/* As a service manager would start us: stdout is a pipe that blocks. */
static inline void start_on_blocking_stdout(struct fixture *f)
{
	fflush(stdout);
	f->saved_stdout = dup(STDOUT_FILENO);
	dup2(f->pipe[1], STDOUT_FILENO);
	close_end(f, 1);
	start(f, "stdout", LOG_JSON);
}

static inline uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void log_numbered(struct fixture *f, unsigned number)
{
	char line[LINE_SIZE + 1];

	snprintf(line, sizeof line, "%-*u", LINE_SIZE - 1, number);
	log_line(f->buffer, line, LINE_SIZE - 1);
}

/* Read what comes, until the end or, if given, until @last is in it. The caller frees. */
static inline char *read_pipe(struct fixture *f, const char *last)
{
	size_t size = 1 << 20;
	size_t used = 0;
	char *text = malloc(size);
	struct pollfd p = { .fd = f->pipe[0], .events = POLLIN };

	text[0] = '\0';
	while (last == NULL || strstr(text, last) == NULL) {
		ssize_t n;

		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		if (used + 1 == size)
			text = realloc(text, size *= 2);
		n = read(f->pipe[0], text + used, size - used - 1);
		assert_true(n >= 0);
		if (n == 0)
			break;
		used += (size_t)n;
		text[used] = '\0';
	}
	return text;
}

static inline char *read_file(const char *path)
{
	char *text = calloc(1, 1 << 20);
	FILE *file = fopen(path, "r");

	if (file != NULL) {
		text[fread(text, 1, (1 << 20) - 1, file)] = '\0';
		fclose(file);
	}
	return text;
}

/* Look until it is there. */
static inline void wait_for_text(const char *path, const char *expected)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	bool found = false;

	while (!found) {
		char *text = read_file(path);

		found = strstr(text, expected) != NULL;
		free(text);
		assert_true(now_ms() < end);
	}
}

static inline void wait_for_drops(struct fixture *f, uint64_t count)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	while (log_dropped(f->log) < count)
		assert_true(now_ms() < end);
}

static inline bool is_numbered(const char *line)
{
	return strcspn(line, "\n") == LINE_SIZE - 1;
}

/* Numbers must ascend; returns how many there are. */
static inline unsigned count_numbered(const char *text)
{
	unsigned count = 0;
	long last = -1;

	for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1) {
		if (!is_numbered(at) || *at == '{')
			continue;
		assert_true(atol(at) > last);
		last = atol(at);
		count++;
	}
	return count;
}

/* The sum of what all the warnings say. */
static inline unsigned reported_drops(const char *text)
{
	unsigned sum = 0;

	while ((text = strstr(text, "\"level\":\"warn\",\"event\":\"log\",\"message\":\"")) !=
	       NULL) {
		unsigned count;
		char were[8];

		text += strlen("\"level\":\"warn\",\"event\":\"log\",\"message\":\"");
		assert_int_equal(sscanf(text, "%u log %*s %7s dropped\"}", &count, were), 2);
		sum += count;
	}
	return sum;
}

/* As a thread: everything up to the end. */
static inline void *collect(void *arg)
{
	return read_pipe(arg, NULL);
}

#endif
