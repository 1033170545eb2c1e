/* SPDX-License-Identifier: MIT */
/* Time stamps of log lines. */
#ifndef LOG_TIME_H
#define LOG_TIME_H

#include <stdint.h>

struct strbuf;

/* Longest text of log_time_format(), with its terminating zero. */
#define LOG_TIME_MAX 40

/* Now, since the epoch [ms]. */
uint64_t log_time_now_ms(void);

/* RFC 3339 in UTC with milliseconds: 2026-11-21T08:51:52.123Z. Each thread keeps the text of its
 * last second, so that most lines cost three digits. */
void log_time_format(uint64_t time_ms, struct strbuf *out);

#endif
