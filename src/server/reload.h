/* SPDX-License-Identifier: MIT */
/* SIGHUP: the configuration is loaded again, and what has changed is applied while connections go on. All of it, or, if
 * any of it cannot be, nothing. Main thread. */
#ifndef RELOAD_H
#define RELOAD_H

#include <stdbool.h>
#include <stdint.h>

struct reload;
struct server;

/* What came of reloads so far, for the metrics. */
struct reload_results {
	uint64_t succeeded;
	uint64_t failed;
	bool last_succeeded; /* or there was none: the start did */
};

/* Load and apply; the log says what came of it. @why is a static text for it, such as "SIGHUP". If one is under way,
 * the next follows as soon as that is done, once; or if a handover to another program is, as soon as that has failed; if it
 * does not, that program is asked to. Not while the server drains. */
void reload_start(struct server *s, const char *why);

/* The server is to drain. One that waits for names is given up; it is over, and s->reload NULL, as soon as the resolver
 * has answered. */
void reload_cancel(struct server *s);

#endif
