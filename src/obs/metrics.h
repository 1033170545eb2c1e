/* SPDX-License-Identifier: MIT */
/* What is counted. Each worker counts for itself: a counter has one writer, so that counting is a plain load and
 * store; whoever reads adds the workers up (contract: "Metrics"). */
#ifndef METRICS_H
#define METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/bug.h"
#include "obs/outcome.h"
#include "wire/proxy_header.h"

/* Goes up, or up and down. One thread writes, any reads. */
struct counter {
	atomic_uint_fast64_t value;
};

static inline void counter_add(struct counter *c, uint64_t n)
{
	uint64_t before = atomic_load_explicit(&c->value, memory_order_relaxed);

	atomic_store_explicit(&c->value, before + n, memory_order_relaxed);
}

static inline void counter_subtract(struct counter *c, uint64_t n)
{
	uint64_t before = atomic_load_explicit(&c->value, memory_order_relaxed);

	atomic_store_explicit(&c->value, before - n, memory_order_relaxed);
}

static inline void counter_set(struct counter *c, uint64_t n)
{
	atomic_store_explicit(&c->value, n, memory_order_relaxed);
}

static inline uint64_t counter_read(const struct counter *c)
{
	return atomic_load_explicit(&c->value, memory_order_relaxed);
}

/* Upper bounds of a histogram's buckets, from 100 µs to 10 s; one more bucket is for what takes longer. */
#define METRICS_BOUNDS 16
extern const uint64_t metrics_bounds_ns[METRICS_BOUNDS];

struct histogram {
	struct counter buckets[METRICS_BOUNDS + 1]; /* not cumulative */
	struct counter sum_ns;
};

/* One writer, like a counter. */
void histogram_observe(struct histogram *h, uint64_t ns);

/* States that count as active; their order is that of enum session_state. */
#define METRICS_STATES 3

/* By enum proxy_command: PROXY, LOCAL, UNKNOWN and NONE. */
#define METRICS_COMMANDS 4

/* Version 0 is no header. */
#define METRICS_VERSIONS 3

/* What one worker counts of one listener. Zeroed is a fresh one. */
struct listener_metrics {
	struct counter accepted;
	struct counter ended[OUTCOME_COUNT];
	struct counter active[METRICS_STATES];
	struct counter bytes_in;  /* client to upstream; while they flow */
	struct counter bytes_out; /* upstream to client */
	struct counter headers[METRICS_VERSIONS][METRICS_COMMANDS];
	struct histogram header;  /* accept to whole header */
	struct histogram connect; /* header to answer of the upstream */
	struct counter port_conflicts;
	struct counter accept_errors;
	struct counter clients_untracked; /* the table of limits per client was full */
	struct counter
	    upstream_answer_ns; /* uv_hrtime() when the upstream last accepted; 0: never */
};

/* Add @from to @to, which nobody else uses; upstream_answer_ns becomes the later of the two. */
void listener_metrics_add(struct listener_metrics *to, const struct listener_metrics *from);

#endif
