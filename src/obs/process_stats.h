/* SPDX-License-Identifier: MIT */
/* What this process uses, as the clients of Prometheus tell it (process_*). */
#ifndef PROCESS_STATS_H
#define PROCESS_STATS_H

#include <stdint.h>

struct process_stats {
	uint64_t cpu_ns;   /* of all threads, user and system */
	uint64_t open_fds; /* 0: /proc is not there; also the others from here on */
	uint64_t virtual_bytes;
	uint64_t resident_bytes;
	uint64_t threads;
	uint64_t started_ns; /* since the epoch */
	uint64_t max_fds;    /* the soft limit */
};

/* Ask the kernel. */
void process_stats_read(struct process_stats *ret);

#endif
