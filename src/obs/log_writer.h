/* SPDX-License-Identifier: MIT */
/* What log.c (threads that log) and log_writer.c (the thread that writes) share; nobody else includes it. */
#ifndef LOG_WRITER_H
#define LOG_WRITER_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

#include "obs/log.h"
#include "obs/log_output.h"

struct strbuf;

/* Lines a thread may be ahead of the writer [bytes]: some 600 access lines, 15 ms of the fastest
 * worker. Untouched memory costs nothing. */
#define LOG_BLOCK_SIZE 262144

/* Longest message of log_message(); the rest is cut off [bytes]. */
#define LOG_MESSAGE_MAX 2048

/* The longest message as JSON, each byte as \u00xx, with the other members. */
#define LOG_MESSAGE_LINE_MAX (6 * LOG_MESSAGE_MAX + 256)

struct log_buffer {
	struct log *log;
	struct log_buffer *next; /* never changes once it is in the list */
	pthread_mutex_t mutex;   /* guards the next three */
	char *filling;           /* the block that takes lines */
	size_t used;             /* of it [bytes] */
	size_t used_before;      /* of it, when `next` was named: lines for `output` [bytes] */
	char *full;              /* the other block; the writer's */
	size_t full_used;        /* of it [bytes]; the writer's */
	size_t full_before;      /* likewise, of the full one [bytes]; the writer's */
	char memory[2][LOG_BLOCK_SIZE];
};

struct log {
	struct log_output output; /* the writer's */
	char *name;               /* of the output that was asked for last; log_configure()'s */
	atomic_uint format;       /* enum log_format */
	atomic_uint level;        /* enum log_level */
	pthread_t writer;
	atomic_uint_fast64_t dropped;
	uint64_t reported;       /* drops that a warning told; the writer's */
	uint64_t reported_at_ms; /* the writer's */
	atomic_bool reopen;      /* asked for, not yet done */
	atomic_bool asleep;      /* the writer waits for a line, without looking again by itself */
	pthread_mutex_t mutex;   /* guards what follows */
	pthread_cond_t wake;     /* woken */
	pthread_cond_t done;     /* finished */
	struct log_buffer *buffers;
	struct log_output *next; /* follows `output`; NULL: none does */
	bool woken;              /* the writer has to look now */
	bool stopping;           /* log_destroy() was called: write what is there and finish */
	bool finished;           /* the writer is about to return */
	bool abandoned;          /* log_destroy() left: the writer frees */
};

/* The line of log_message(), without its newline. */
void log_format_message(enum log_format format, enum log_level level, const char *event,
			const char *message, va_list args, struct strbuf *out) PRINTF_LIKE(4, 0);

/* Free everything; no thread may use it any more. */
void log_free(struct log *log);

/* Returns 0 or a negative errno. */
int log_writer_start(struct log *log) MUST_CHECK;

/* What is logged from here on goes to @next (taken). */
void log_writer_follow(struct log *log, struct log_output *next);

/* Look at the buffers and flags now. Any thread. */
void log_writer_wake(struct log *log);

/* Let the writer write what is there and end. Returns false if that took longer than @wait_ms: the log is
 * the writer's then, and may be gone already. */
bool log_writer_stop(struct log *log, unsigned wait_ms) MUST_CHECK;

#endif
