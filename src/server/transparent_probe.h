/* SPDX-License-Identifier: MIT */
/* Would transparent mode work, here and now? Found out by doing it, with a client of a documentation network and a
 * listener of our own at the application's address. */
#ifndef TRANSPARENT_PROBE_H
#define TRANSPARENT_PROBE_H

#include <stdint.h>

#include "base/address.h"
#include "base/bug.h"

#define TRANSPARENT_PROBE_ERROR_MAX 1024

/* How connections of transparent mode are marked and routed. */
struct transparent_routing {
	uint32_t mark;
	uint32_t table;
};

/* Can clients of the family of @upstream be connected to it? Its port does not matter. Takes no time if they
 * can, and a second if they cannot.
 * Returns 0; or a negative errno, and what is missing and how to add it in @reterr, of one or more lines. */
int transparent_probe(const struct transparent_routing *routing, const struct address *upstream,
		      char reterr[static TRANSPARENT_PROBE_ERROR_MAX]) MUST_CHECK;

#endif
