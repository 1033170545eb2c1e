/* SPDX-License-Identifier: MIT */
/* Where log lines end up: stderr, stdout or a file. Used by the log's writer thread alone, which may
 * block in it; only log_output_abandon() may come from another. */
#ifndef LOG_OUTPUT_H
#define LOG_OUTPUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bug.h"

struct log_output {
	int fd;
	char *path;            /* NULL: stderr or stdout, which are not ours to close */
	bool torn;             /* the last write stopped within a line */
	atomic_bool abandoned; /* nobody waits for the rest any more */
};

/* @name is "stderr", "stdout" or a path (copied). Returns 0 or a negative errno. */
int log_output_open(struct log_output *o, const char *name) MUST_CHECK;
void log_output_close(struct log_output *o);

/* Open the path again. Returns a negative errno, and the old file stays, if that fails. */
int log_output_reopen(struct log_output *o) MUST_CHECK;

/* Close what is open, and take over what @next has. */
void log_output_replace(struct log_output *o, const struct log_output *next);

/* Write whole lines. Returns how many of them were not, or not wholly, written. */
uint64_t log_output_write(struct log_output *o, const char *lines, size_t size) MUST_CHECK;

/* Make a log_output_write() that waits for room give up soon. */
void log_output_abandon(struct log_output *o);

#endif
