/* SPDX-License-Identifier: MIT */
/* The thread that writes the log.
 *
 * Happy path:
 * - A line wakes it. It swaps the two blocks of every buffer under the buffer's mutex, and writes the
 *   full ones without it.
 * - It naps and looks again, so that threads that keep logging need not wake it.
 * - After a nap that found nothing it sleeps until the next line.
 * - log_configure() names another output: each buffer remembers how much of it belongs to the old one.
 *
 * What can go wrong:
 * - The output fails: log_output_write() says how many lines that cost. Before going to sleep the
 *   writer warns how many are missing, and does so again until the warning got through.
 * - The output blocks for good: log_writer_stop() waits as long as it was told and then leaves the log
 *   to this thread, which frees it should it ever come back. */
#include "obs/log_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/capability.h"
#include "base/strbuf.h"
#include "obs/log_time.h"

/* Between two looks at the buffers while lines keep coming: what a line may be late by, and how many
 * wake-ups a busy process pays for its log [ms]. */
#define NAP_MS 10

/* While lines keep being dropped, say so this often [ms]. */
#define DROP_REPORT_MS 1000

static struct timespec monotonic_in(unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

/* The writer's own lines, straight to the output. Returns false if it did not take the line. */
static bool PRINTF_LIKE(3, 4)
    writer_message(struct log *log, enum log_level level, const char *format, ...)
{
	char line[LOG_MESSAGE_LINE_MAX];
	struct strbuf out;
	va_list args;

	strbuf_init(&out, line, sizeof line);
	va_start(args, format);
	log_format_message(atomic_load(&log->format), level, "log", format, args, &out);
	va_end(args);
	strbuf_putc(&out, '\n');
	return log_output_write(&log->output, out.data, out.used) == 0;
}

static void writer_reopen(struct log *log)
{
	int rv = log_output_reopen(&log->output);

	if (rv != 0)
		writer_message(log, LOG_ERROR,
			       "cannot open %s again: %s; still writing to the old file",
			       log->output.path, strerror(-rv));
}

static void swap_blocks(struct log_buffer *b)
{
	char *full;

	pthread_mutex_lock(&b->mutex);
	full = b->filling;
	b->filling = b->full;
	b->full = full;
	b->full_used = b->used;
	b->full_before = b->used_before;
	b->used = 0;
	b->used_before = 0;
	pthread_mutex_unlock(&b->mutex);
}

/* Take what all buffers hold, and the output that follows, if any: as one, for else their marks would not be about
 * this output. */
static struct log_buffer *writer_take(struct log *log, struct log_output **retnext)
{
	struct log_buffer *first;

	pthread_mutex_lock(&log->mutex);
	first = log->buffers;
	for (struct log_buffer *b = first; b != NULL; b = b->next)
		swap_blocks(b);
	*retnext = log->next;
	log->next = NULL;
	pthread_mutex_unlock(&log->mutex);
	return first;
}

static void writer_write(struct log *log, const char *lines, size_t size)
{
	if (size > 0)
		atomic_fetch_add(&log->dropped, log_output_write(&log->output, lines, size));
}

/* The last lines for the old output, and on to @next (taken). */
static void writer_follow(struct log *log, struct log_buffer *first, struct log_output *next)
{
	for (struct log_buffer *b = first; b != NULL; b = b->next)
		writer_write(log, b->full, b->full_before);
	log_output_replace(&log->output, next);
	free(next);
}

/* Write what all buffers hold. Returns false if that was nothing. */
static bool writer_round(struct log *log)
{
	struct log_output *next;
	struct log_buffer *first = writer_take(log, &next);
	bool found = false;

	if (next != NULL)
		writer_follow(log, first, next);
	/* After the swap: no line younger than the request may go to the old file. */
	if (atomic_exchange(&log->reopen, false))
		writer_reopen(log);
	for (struct log_buffer *b = first; b != NULL; b = b->next) {
		found = found || b->full_used > 0;
		writer_write(log, b->full + b->full_before, b->full_used - b->full_before);
	}
	return found;
}

static void writer_report_drops(struct log *log, bool quiet)
{
	uint64_t dropped = atomic_load(&log->dropped);
	uint64_t now_ms = log_time_now_ms();

	if (dropped == log->reported || (!quiet && now_ms - log->reported_at_ms < DROP_REPORT_MS))
		return;
	log->reported_at_ms = now_ms;
	if (writer_message(log, LOG_WARN, "%" PRIu64 " log %s dropped", dropped - log->reported,
			   dropped - log->reported == 1 ? "line was" : "lines were"))
		log->reported = dropped;
}

static bool any_lines(struct log *log)
{
	bool any = false;

	for (struct log_buffer *b = log->buffers; b != NULL && !any; b = b->next) {
		pthread_mutex_lock(&b->mutex);
		any = b->used > 0;
		pthread_mutex_unlock(&b->mutex);
	}
	return any;
}

/* Nap, or sleep until there is something to do. Returns whether the log is stopping. */
static bool writer_wait(struct log *log, bool sleep)
{
	struct timespec end = monotonic_in(NAP_MS);
	bool over = false;
	bool stopping;

	pthread_mutex_lock(&log->mutex);
	if (sleep) {
		/* A line from before this we find below; who adds one after it finds us asleep. */
		atomic_store(&log->asleep, true);
		sleep = !any_lines(log);
	}
	while (!log->woken && !over) {
		if (sleep)
			pthread_cond_wait(&log->wake, &log->mutex);
		else
			over = pthread_cond_timedwait(&log->wake, &log->mutex, &end) == ETIMEDOUT;
	}
	atomic_store(&log->asleep, false);
	log->woken = false;
	stopping = log->stopping;
	pthread_mutex_unlock(&log->mutex);
	return stopping;
}

static void *writer_main(void *arg)
{
	struct log *log = arg;
	bool found = false;
	bool stopping;
	bool abandoned;

	/* Whatever we may do for transparent mode, a log needs none of it. Root loses it in privilege_drop(). */
	if (geteuid() != 0)
		capability_keep(0);
	do {
		stopping = writer_wait(log, !found);
		found = writer_round(log);
		writer_report_drops(log, !found || stopping);
	} while (!stopping);

	pthread_mutex_lock(&log->mutex);
	log->finished = true;
	abandoned = log->abandoned;
	pthread_cond_signal(&log->done);
	pthread_mutex_unlock(&log->mutex);
	if (abandoned)
		log_free(log);
	return NULL;
}

/* Signals are for the threads that expect them; SIGPIPE from our writes would end the process. */
int log_writer_start(struct log *log)
{
	sigset_t all;
	sigset_t before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&log->writer, NULL, writer_main, log);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

/* What the buffers hold now is for the output that we have. */
static void mark_blocks(struct log_buffer *first)
{
	for (struct log_buffer *b = first; b != NULL; b = b->next) {
		pthread_mutex_lock(&b->mutex);
		b->used_before = b->used;
		pthread_mutex_unlock(&b->mutex);
	}
}

void log_writer_follow(struct log *log, struct log_output *next)
{
	pthread_mutex_lock(&log->mutex);
	if (log->next == NULL) {
		mark_blocks(log->buffers);
	} else { /* the writer has not got to that one, and now never will */
		log_output_close(log->next);
		free(log->next);
	}
	log->next = next;
	pthread_mutex_unlock(&log->mutex);
	log_writer_wake(log);
}

void log_writer_wake(struct log *log)
{
	pthread_mutex_lock(&log->mutex);
	log->woken = true;
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->mutex);
}

bool log_writer_stop(struct log *log, unsigned wait_ms)
{
	struct timespec end = monotonic_in(wait_ms);
	bool over = false;
	bool finished;

	pthread_mutex_lock(&log->mutex);
	log->stopping = true;
	log->woken = true;
	pthread_cond_signal(&log->wake);
	while (!log->finished && !over)
		over = pthread_cond_timedwait(&log->done, &log->mutex, &end) == ETIMEDOUT;
	finished = log->finished;
	if (!finished) {
		/* Before the mutex is free: once the writer knows that we left, it may free the log. */
		log->abandoned = true;
		log_output_abandon(&log->output);
		pthread_detach(log->writer);
	}
	pthread_mutex_unlock(&log->mutex);
	if (finished)
		pthread_join(log->writer, NULL);
	return finished;
}
