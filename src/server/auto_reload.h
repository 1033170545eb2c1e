/* SPDX-License-Identifier: MIT */
/* `watch: true`: the files that the running configuration was read from are watched, and a change is what SIGHUP is. Main
 * thread. */
#ifndef AUTO_RELOAD_H
#define AUTO_RELOAD_H

struct server;

/* Another configuration runs now: watch its files, or none. What cannot be watched is logged. */
void auto_reload_apply(struct server *s);

/* The loop must still run for callbacks. Idempotent. */
void auto_reload_stop(struct server *s);

#endif
