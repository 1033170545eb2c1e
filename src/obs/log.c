/* SPDX-License-Identifier: MIT */
/* The log as threads that log see it: append and go on.
 *
 * Happy path:
 * - log_line() copies a line into the filling block of its buffer, under a mutex that nobody else
 *   holds for long. No system call, unless the writer sleeps or the block has just become half full.
 *
 * What can go wrong:
 * - The writer cannot keep up: a line for which the block has no room is dropped and counted. */
#include "obs/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json_writer.h"
#include "base/strbuf.h"
#include "obs/log_time.h"
#include "obs/log_writer.h"

const char *log_level_name(enum log_level l)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	assert((unsigned)l < ARRAY_SIZE(names));
	return names[l];
}

void log_format_message(enum log_format format, enum log_level level, const char *event,
			const char *message, va_list args, struct strbuf *out)
{
	char time[LOG_TIME_MAX];
	char text[LOG_MESSAGE_MAX];
	struct strbuf stamp;
	struct strbuf filled;
	struct json_writer w;

	strbuf_init(&stamp, time, sizeof time);
	log_time_format(log_time_now_ms(), &stamp);
	strbuf_init(&filled, text, sizeof text);
	strbuf_vprintf(&filled, message, args);
	if (format == LOG_TEXT) {
		strbuf_printf(out, "%s %-5s %s  ", time, log_level_name(level), event);
		for (const char *at = text; *at != '\0'; at++) /* one message, one line */
			strbuf_putc(out, (unsigned char)*at < ' ' ? '?' : *at);
		return;
	}
	json_writer_init(&w, out);
	json_writer_open(&w, NULL, '{');
	json_writer_text(&w, "time", time);
	json_writer_text(&w, "level", log_level_name(level));
	json_writer_text(&w, "event", event);
	json_writer_text(&w, "message", text);
	json_writer_close(&w, '}');
}

void log_free(struct log *log)
{
	while (log->buffers != NULL) {
		struct log_buffer *b = log->buffers;

		log->buffers = b->next;
		pthread_mutex_destroy(&b->mutex);
		free(b);
	}
	log_output_close(&log->output);
	if (log->next != NULL)
		log_output_close(log->next);
	free(log->next);
	free(log->name);
	pthread_cond_destroy(&log->wake);
	pthread_cond_destroy(&log->done);
	pthread_mutex_destroy(&log->mutex);
	free(log);
}

int log_create(const char *output, enum log_format format, enum log_level level, struct log **ret)
{
	struct log *log = calloc(1, sizeof *log);
	pthread_condattr_t monotonic;
	int rv;

	if (log == NULL)
		return -ENOMEM;
	log->name = strdup(output);
	rv = log->name != NULL ? log_output_open(&log->output, output) : -ENOMEM;
	if (rv != 0) {
		free(log->name);
		free(log);
		return rv;
	}
	atomic_init(&log->format, format);
	atomic_init(&log->level, level);
	pthread_mutex_init(&log->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&log->wake, &monotonic);
	pthread_cond_init(&log->done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	rv = log_writer_start(log);
	if (rv != 0) {
		log_free(log);
		return rv;
	}
	*ret = log;
	return 0;
}

void log_destroy(struct log *log, unsigned wait_ms)
{
	if (log != NULL && log_writer_stop(log, wait_ms))
		log_free(log);
}

static int change_output(struct log *log, const char *name)
{
	char *copy = strdup(name);
	struct log_output *next = malloc(sizeof *next);
	int rv = copy != NULL && next != NULL ? log_output_open(next, name) : -ENOMEM;

	if (rv != 0) {
		free(copy);
		free(next);
		return rv;
	}
	free(log->name);
	log->name = copy;
	log_writer_follow(log, next);
	return 0;
}

int log_configure(struct log *log, const char *output, enum log_format format, enum log_level level)
{
	int rv = strcmp(output, log->name) != 0 ? change_output(log, output) : 0;

	if (rv != 0)
		return rv;
	atomic_store(&log->format, format);
	atomic_store(&log->level, level);
	return 0;
}

void log_reopen(struct log *log)
{
	atomic_store(&log->reopen, true);
	log_writer_wake(log);
}

struct log_buffer *log_buffer_create(struct log *log)
{
	struct log_buffer *b = malloc(sizeof *b); /* not calloc(): untouched until lines come */

	if (b == NULL)
		return NULL;
	b->log = log;
	pthread_mutex_init(&b->mutex, NULL);
	b->filling = b->memory[0];
	b->used = 0;
	b->used_before = 0;
	b->full = b->memory[1];
	b->full_used = 0;
	b->full_before = 0;
	pthread_mutex_lock(&log->mutex);
	b->next = log->buffers;
	log->buffers = b;
	pthread_mutex_unlock(&log->mutex);
	return b;
}

enum log_format log_format_of(const struct log_buffer *b)
{
	return atomic_load_explicit(&b->log->format, memory_order_relaxed);
}

bool log_enabled(const struct log_buffer *b, enum log_level level)
{
	return level <= atomic_load_explicit(&b->log->level, memory_order_relaxed);
}

void log_line(struct log_buffer *b, const char *line, size_t size)
{
	struct log *log = b->log;
	bool fits;
	bool half = false;

	pthread_mutex_lock(&b->mutex);
	fits = size < LOG_BLOCK_SIZE - b->used;
	if (fits) {
		half = b->used < LOG_BLOCK_SIZE / 2;
		memcpy(b->filling + b->used, line, size);
		b->used += size;
		b->filling[b->used++] = '\n';
		half = half && b->used >= LOG_BLOCK_SIZE / 2;
	}
	pthread_mutex_unlock(&b->mutex);
	if (!fits)
		atomic_fetch_add(&log->dropped, 1);
	if (half || (atomic_load(&log->asleep) && atomic_exchange(&log->asleep, false)))
		log_writer_wake(log);
}

void log_message(struct log_buffer *b, enum log_level level, const char *event, const char *format,
		 ...)
{
	char line[LOG_MESSAGE_LINE_MAX];
	struct strbuf out;
	va_list args;

	if (!log_enabled(b, level))
		return;
	strbuf_init(&out, line, sizeof line);
	va_start(args, format);
	log_format_message(log_format_of(b), level, event, format, args, &out);
	va_end(args);
	log_line(b, out.data, out.used);
}

uint64_t log_dropped(struct log *log)
{
	return atomic_load(&log->dropped);
}
