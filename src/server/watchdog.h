/* SPDX-License-Identifier: MIT */
/* systemd's watchdog (WatchdogSec=) is fed while the main loop turns and every worker takes its mail. Main thread. */
#ifndef WATCHDOG_H
#define WATCHDOG_H

#include "base/bug.h"

struct server;
struct watchdog;

/* If systemd asks for it; otherwise *@ret is NULL. The workers serve. Returns 0 or -ENOMEM. */
int watchdog_create(struct server *s, struct watchdog **ret) MUST_CHECK;

/* Not a word to systemd any more. The loop must still run for a callback. NULL does nothing, nor does a second time. */
void watchdog_stop(struct watchdog *w);

/* Stopped, the workers have ended, and the loop has run out. NULL does nothing. */
void watchdog_destroy(struct watchdog *w);

#endif
