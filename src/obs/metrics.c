/* SPDX-License-Identifier: MIT */
#include "obs/metrics.h"

#define US(n) ((uint64_t)(n)*1000)
#define MS(n) US((n)*1000)

const uint64_t metrics_bounds_ns[METRICS_BOUNDS] = {
	US(100), US(250), US(500), MS(1),   MS(2),    MS(5),    MS(10),   MS(25),
	MS(50),  MS(100), MS(250), MS(500), MS(1000), MS(2500), MS(5000), MS(10000),
};

void histogram_observe(struct histogram *h, uint64_t ns)
{
	unsigned i = 0;

	while (i < METRICS_BOUNDS && ns > metrics_bounds_ns[i])
		i++;
	counter_add(&h->buckets[i], 1);
	counter_add(&h->sum_ns, ns);
}

static void counter_merge(struct counter *to, const struct counter *from)
{
	counter_add(to, counter_read(from));
}

static void histogram_merge(struct histogram *to, const struct histogram *from)
{
	for (unsigned i = 0; i < ARRAY_SIZE(to->buckets); i++)
		counter_merge(&to->buckets[i], &from->buckets[i]);
	counter_merge(&to->sum_ns, &from->sum_ns);
}

void listener_metrics_add(struct listener_metrics *to, const struct listener_metrics *from)
{
	uint64_t answer = counter_read(&from->upstream_answer_ns);

	counter_merge(&to->accepted, &from->accepted);
	for (unsigned i = 0; i < OUTCOME_COUNT; i++)
		counter_merge(&to->ended[i], &from->ended[i]);
	for (unsigned i = 0; i < METRICS_STATES; i++)
		counter_merge(&to->active[i], &from->active[i]);
	counter_merge(&to->bytes_in, &from->bytes_in);
	counter_merge(&to->bytes_out, &from->bytes_out);
	for (unsigned v = 0; v < METRICS_VERSIONS; v++)
		for (unsigned c = 0; c < METRICS_COMMANDS; c++)
			counter_merge(&to->headers[v][c], &from->headers[v][c]);
	histogram_merge(&to->header, &from->header);
	histogram_merge(&to->connect, &from->connect);
	counter_merge(&to->port_conflicts, &from->port_conflicts);
	counter_merge(&to->accept_errors, &from->accept_errors);
	counter_merge(&to->clients_untracked, &from->clients_untracked);
	if (answer > counter_read(&to->upstream_answer_ns))
		counter_set(&to->upstream_answer_ns, answer);
}
