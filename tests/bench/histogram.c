/* SPDX-License-Identifier: MIT */
#include "histogram.h"

#include "base/bug.h"

#define STEP_BITS 7 /* log2 of HISTOGRAM_STEPS */

static_assert(1 << STEP_BITS == HISTOGRAM_STEPS, "a bucket is found by shifting");

/* The first octave counts 0 to 127 ns one by one; each one after it covers twice the range of the
 * one before with as many buckets. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned shift = 0;

	while (ns >> shift >= 2 * HISTOGRAM_STEPS)
		shift++;
	if (ns < HISTOGRAM_STEPS)
		return (unsigned)ns;
	if (shift > HISTOGRAM_OCTAVES - 2)
		return HISTOGRAM_OCTAVES * HISTOGRAM_STEPS - 1;
	return (shift + 1) * HISTOGRAM_STEPS + (unsigned)((ns >> shift) - HISTOGRAM_STEPS);
}

static double middle_of(unsigned bucket)
{
	unsigned octave = bucket / HISTOGRAM_STEPS, step = bucket % HISTOGRAM_STEPS;

	if (octave == 0)
		return bucket;
	return ((double)(HISTOGRAM_STEPS + step) + 0.5) * (double)(UINT64_C(1) << (octave - 1));
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	h->total++;
	h->counts[bucket_of(ns)]++;
}

void histogram_merge(struct histogram *h, const struct histogram *from)
{
	h->total += from->total;
	for (unsigned i = 0; i < ARRAY_SIZE(h->counts); i++)
		h->counts[i] += from->counts[i];
}

double histogram_percentile(const struct histogram *h, double share)
{
	double wanted = share * (double)h->total;
	uint64_t seen = 0;

	if (h->total == 0)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(h->counts); i++) {
		seen += h->counts[i];
		if ((double)seen >= wanted)
			return middle_of(i);
	}
	return middle_of(ARRAY_SIZE(h->counts) - 1);
}
