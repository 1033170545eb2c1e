/* SPDX-License-Identifier: MIT */
/* Let all workers stand still, for what none of them may meet half done. Main thread. */
#ifndef STANDSTILL_H
#define STANDSTILL_H

#include "base/bug.h"

struct server;
struct standstill;

/* How long a busy worker may take to come to it [ms]. All others stand still meanwhile. */
#define STANDSTILL_PATIENCE_MS 1000

/* Waits until all of them stand still; they do until standstill_end(), and connections wait. The server is not told to
 * drain. Returns 0; or -ETIMEDOUT or -ENOMEM, and they go on. */
int standstill_begin(struct server *s, struct standstill **ret) MUST_CHECK;

void standstill_end(struct standstill *st);

#endif
