/* SPDX-License-Identifier: MIT */
/* Do the workers still turn? Each is sent a mail when somebody asks, and has some seconds to take it: so one who is
 * stuck is known from the second request on. */
#ifndef ADMIN_HEALTH_H
#define ADMIN_HEALTH_H

#include <stddef.h>
#include <stdint.h>

#include "base/bug.h"

struct admin_health;
struct worker;

/* A worker that has not taken its mail for so long is stuck: far longer than a busy one ever takes [ms]. */
#define ADMIN_HEALTH_PATIENCE_MS 5000

/* NULL when out of memory. */
struct admin_health *admin_health_create(unsigned workers) MUST_CHECK;

/* Write the numbers of those that are stuck at @now_ms to @ret_stuck, which has room for all, and send a mail to the
 * others. Returns how many are stuck. */
size_t admin_health_check(struct admin_health *h, struct worker *const *workers, uint64_t now_ms,
			  unsigned *ret_stuck);

/* The workers have ended. NULL does nothing. */
void admin_health_destroy(struct admin_health *h);

#endif
