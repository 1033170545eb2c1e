/* SPDX-License-Identifier: MIT */
/* What systemd is told of us (sd_notify(3)). Built without libsystemd, or started by something else, all of this
 * does nothing. Main thread. */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <sys/types.h>

#include <uv.h>

#include "base/bug.h"

/* READY=1: started, or done reloading. */
void notify_ready(void);

/* RELOADING=1 with the time; notify_ready() has to follow, whatever comes of it. */
void notify_reloading(void);

/* STOPPING=1 */
void notify_stopping(void);

/* STATUS=: one line, as `systemctl status` shows it. */
void notify_status(const char *format, ...) PRINTF_LIKE(1, 2);

/* May another process take over from us? Not if systemd has started us but does not listen to us: when we end, it takes the
 * service for ended, and ends whoever is left of it. */
bool notify_may_change_main_pid(void);

/* MAINPID= and READY=1: @pid has taken over from us. We must not say anything after this. */
void notify_main_pid(pid_t pid);

/* WATCHDOG=1 for as long as the main loop turns and the workers answer. */
struct notify_watchdog {
	uv_timer_t timer;
	bool asked; /* and not answered yet */
	void (*ask)(void *data);
	void *data;
};

/* If systemd expects to hear from us (WatchdogSec=), have @ask called every half of that time. It asks all workers,
 * and calls notify_watchdog_answered() once all have answered, now or later; as long as they have not it is not
 * called again. Returns true if systemd does; then notify_watchdog_stop() is due before the loop ends. */
bool notify_watchdog_start(struct notify_watchdog *w, uv_loop_t *loop, void (*ask)(void *data),
			   void *data);

void notify_watchdog_answered(struct notify_watchdog *w);

/* The memory must stay until the loop has closed the timer. */
void notify_watchdog_stop(struct notify_watchdog *w);

#endif
