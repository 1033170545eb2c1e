/* SPDX-License-Identifier: MIT */
#include "obs/log_time.h"

#include <stddef.h>
#include <time.h>

#include "base/strbuf.h"

uint64_t log_time_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void log_time_format(uint64_t time_ms, struct strbuf *out)
{
	static _Thread_local uint64_t cached_second = UINT64_MAX;
	static _Thread_local char cached[LOG_TIME_MAX];
	static _Thread_local size_t cached_size;
	uint64_t second = time_ms / 1000;
	unsigned ms = (unsigned)(time_ms % 1000);
	char fraction[] = { '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
			    (char)('0' + ms % 10), 'Z' };

	if (second != cached_second) {
		time_t t = (time_t)second;
		struct tm utc = { 0 };

		gmtime_r(&t, &utc);
		cached_size = strftime(cached, sizeof cached, "%Y-%m-%dT%H:%M:%S", &utc);
		cached_second = second;
	}
	strbuf_add(out, cached, cached_size);
	strbuf_add(out, fraction, sizeof fraction);
}
