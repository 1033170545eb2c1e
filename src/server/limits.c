/* SPDX-License-Identifier: MIT */
#include "server/limits.h"

#include <stdint.h>
#include <sys/resource.h>

/* Descriptors that are not a session's: loops, log, resolver. */
#define FDS_RESERVED   64
#define FDS_PER_WORKER 16

/* More bulk transfers than this at a time, and some of them are copied. */
#define PIPES_PER_WORKER 256

unsigned limits_raise_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit); /* lowering is not it, so it cannot fail */
	return limit.rlim_max < UINT32_MAX ? (unsigned)limit.rlim_max : UINT32_MAX;
}

unsigned limits_pipes(unsigned fds, unsigned workers)
{
	unsigned pipes = fds / 16 / workers;

	return pipes < PIPES_PER_WORKER ? pipes : PIPES_PER_WORKER;
}

unsigned limits_connections(unsigned fds, unsigned workers, unsigned sockets)
{
	/* A connection takes two, a pipe takes two. */
	uint64_t reserved = FDS_RESERVED + sockets +
			    (uint64_t)workers * (FDS_PER_WORKER + 2 * limits_pipes(fds, workers));
	uint64_t limit = fds > 2 * reserved ? (fds - reserved) / 2 : fds / 4;

	return limit > 0 ? (unsigned)limit : 1;
}
