/* SPDX-License-Identifier: MIT */
/* Does a listener's upstream accept connections? Asked from the main loop every `upstream_check.interval_ms`. */
#ifndef UPSTREAM_CHECK_H
#define UPSTREAM_CHECK_H

#include <stdint.h>

#include <uv.h>

#include "base/bug.h"

struct config;
struct listener_config;
struct upstream_addresses;
struct upstream_check;

#define UPSTREAM_CHECK_REASON_MAX 256

enum upstream_health {
	UPSTREAM_UNKNOWN, /* not checked yet */
	UPSTREAM_UP,
	UPSTREAM_DOWN,
};

/* All borrowed for the call, but for what is said. */
struct upstream_check_options {
	uv_loop_t *loop;
	struct config *config;                      /* a reference is taken */
	const struct listener_config *listener;     /* in it; its interval is not 0 */
	const struct upstream_addresses *addresses; /* two, of listener->upstream */
	/* uv_hrtime() when the upstream last accepted a client's connection; 0: never. If it has within the interval,
	 * there is no need to ask it. */
	uint64_t (*answered_ns)(void *data);
	/* The health is another one. May destroy the check. */
	void (*changed)(void *data);
	void *data;
};

/* The first check is at once; all answers come from the loop. Returns 0 or -ENOMEM. */
int upstream_check_create(const struct upstream_check_options *options,
			  struct upstream_check **ret) MUST_CHECK;

enum upstream_health upstream_check_health(const struct upstream_check *c);

/* Why it is down: "127.0.0.1:8080: connection refused". Otherwise empty. */
const char *upstream_check_reason(const struct upstream_check *c);

/* No callback any more; the loop must still run to free the memory. NULL does nothing. */
void upstream_check_destroy(struct upstream_check *c);

#endif
