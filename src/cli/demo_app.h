/* SPDX-License-Identifier: MIT */
/* The application of `unproxy demo`: HTTP on a free port of 127.0.0.1, in a thread of its own. It answers every
 * GET by saying what it was sent and by whom, and knows nothing of the PROXY protocol. */
#ifndef DEMO_APP_H
#define DEMO_APP_H

#include <stdint.h>

#include "base/bug.h"

struct demo_app;

/* Returns 0 or a negative errno. */
int demo_app_start(struct demo_app **ret) MUST_CHECK;

uint16_t demo_app_port(const struct demo_app *app);

/* Close all connections and free. NULL does nothing. */
void demo_app_stop(struct demo_app *app);

#endif
