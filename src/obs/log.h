/* SPDX-License-Identifier: MIT */
/* The log: lines from any thread, written by one thread of its own.
 *
 * A thread that logs never waits for the output: it appends to a bounded buffer (its worker's own, so
 * workers do not meet), and a line that does not fit is counted and dropped. The writer thread alone
 * writes; if the output is closed, full or slow, only it waits, and lines that could not be written
 * are counted as dropped too. When output works again, one warning says how many are missing. */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bug.h"

enum log_level {
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG,
};

enum log_format {
	LOG_JSON,
	LOG_TEXT,
};

struct log;        /* the process's log: output, format, level, writer thread */
struct log_buffer; /* one thread's way into it */

/* "error", "warn", "info", "debug" */
const char *log_level_name(enum log_level l);

/* Open @output ("stderr", "stdout" or a path, copied) and start the writer.
 * Returns 0, or a negative errno (of open(2) or pthread_create(3)) with @ret untouched. */
int log_create(const char *output, enum log_format format, enum log_level level,
	       struct log **ret) MUST_CHECK;

/* Write what is buffered, for at most @wait_ms (an output that blocks for longer loses its lines), stop
 * the writer and free everything, buffers included. NULL does nothing. */
void log_destroy(struct log *log, unsigned wait_ms);

/* From now on as these say, @output (copied) as for log_create(). If it is another than before, what was logged so far
 * goes to the old one, and what is logged from here on to the new, once the old one has taken its part. Any thread,
 * but one at a time. Returns 0, or a negative errno (of open(2)) and nothing has changed. */
int log_configure(struct log *log, const char *output, enum log_format format,
		  enum log_level level) MUST_CHECK;

/* The path is opened again, soon, by the writer; "stderr" and "stdout" stay. If it cannot be opened, the old
 * one stays and a line there says so. Any thread. */
void log_reopen(struct log *log);

/* A buffer for one thread; the log owns it. NULL when out of memory. */
struct log_buffer *log_buffer_create(struct log *log) MUST_CHECK;

enum log_format log_format_of(const struct log_buffer *b);
bool log_enabled(const struct log_buffer *b, enum log_level level);

/* Append one whole line, without its newline. Any thread, but it is meant to be the buffer's own. */
void log_line(struct log_buffer *b, const char *line, size_t size);

/* A message that is no access line: {"time", "level", "event": @event, "message"} or the same as text.
 * Does nothing if the level is off. */
void log_message(struct log_buffer *b, enum log_level level, const char *event, const char *format,
		 ...) PRINTF_LIKE(4, 5);

/* Lines dropped since the start, by all buffers. Any thread. */
uint64_t log_dropped(struct log *log);

#endif
