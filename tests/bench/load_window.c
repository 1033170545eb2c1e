/* SPDX-License-Identifier: MIT */
/* The window of a run: it opens once caches, pools and buffers are warm, and everything that is
 * reported lies between its two snapshots.
 *
 * CPU time is read from the CPU clock of each process: the same sum of run times that
 * /proc/PID/task/TID/schedstat shows, but exact at the moment of reading (schedstat lags by up to
 * one tick for a running thread) and with the threads that have exited. */
#include <stdio.h>
#include <stdlib.h>

#include "load.h"

static uint64_t read_clock(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) != 0) {
		fprintf(stderr, "bench_load: a process that was to be measured is gone\n");
		exit(1);
	}
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t load_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static void take(const struct load *l, struct load_snapshot *ret)
{
	ret->at = load_now();
	ret->operations = atomic_load(&l->operations);
	ret->bytes = atomic_load(&l->bytes);
	ret->cpu = 0;
	for (unsigned i = 0; i < l->n_clocks; i++)
		ret->cpu += read_clock(l->clocks[i]);
}

static void open_window(struct load *l)
{
	take(l, &l->begin);
	atomic_store(&l->phase, LOAD_MEASURE);
}

static void close_window(struct load *l)
{
	take(l, &l->end);
	atomic_store(&l->phase, LOAD_DONE);
}

bool load_count(struct load *l, uint64_t bytes)
{
	bool measured = atomic_load_explicit(&l->phase, memory_order_relaxed) == LOAD_MEASURE;
	uint64_t done;

	if (bytes != 0)
		atomic_fetch_add_explicit(&l->bytes, bytes, memory_order_relaxed);
	done = atomic_fetch_add_explicit(&l->operations, 1, memory_order_relaxed) + 1;
	if (l->workload == LOAD_SHORT) {
		if (done == l->warmup)
			open_window(l);
		else if (l->measure != 0 && done == l->warmup + l->measure)
			close_window(l);
	}
	return measured;
}

void load_finish(struct load *l)
{
	if (atomic_load(&l->phase) == LOAD_MEASURE)
		close_window(l);
}

void load_tick(struct load *l, uint64_t now)
{
	int phase = atomic_load_explicit(&l->phase, memory_order_relaxed);

	if (l->workload != LOAD_TRIPS && l->workload != LOAD_BULK)
		return;
	if (phase == LOAD_WARMUP && now >= l->began_at + l->warmup)
		open_window(l);
	else if (phase == LOAD_MEASURE && now >= l->begin.at + l->measure)
		close_window(l);
}
