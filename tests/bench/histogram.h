/* SPDX-License-Identifier: MIT */
/* Counts of durations, close enough for percentiles: every bucket is within 0.8 % of its values. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS   128 /* buckets a power of two */
#define HISTOGRAM_OCTAVES 30  /* the last bucket begins at about two minutes */

struct histogram {
	uint64_t total;
	uint64_t counts[HISTOGRAM_OCTAVES * HISTOGRAM_STEPS];
};

void histogram_add(struct histogram *h, uint64_t ns);

/* Add what @from counted to @h. */
void histogram_merge(struct histogram *h, const struct histogram *from);

/* The duration [ns] that @share (0 to 1) of the values do not exceed; 0 if there are none. */
double histogram_percentile(const struct histogram *h, double share);

#endif
