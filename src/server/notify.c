/* SPDX-License-Identifier: MIT */
#include "server/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

/* Longest status, with its terminating zero: more than a terminal shows. */
#define STATUS_MAX 512

/* Nobody listens (NOTIFY_SOCKET is not set), or cannot now: there is nobody else to tell. */
static void notify(const char *state)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, state);
#else
	(void)state;
#endif
}

void notify_ready(void)
{
	notify("READY=1");
}

/* uv_hrtime() is the clock that is asked for. */
void notify_reloading(void)
{
	char state[64];

	snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, uv_hrtime() / 1000);
	notify(state);
}

void notify_stopping(void)
{
	notify("STOPPING=1");
}

void notify_status(const char *format, ...)
{
	char status[STATUS_MAX];
	char state[STATUS_MAX + sizeof "STATUS="];
	va_list args;

	va_start(args, format);
	vsnprintf(status, sizeof status, format, args);
	va_end(args);
	snprintf(state, sizeof state, "STATUS=%s", status);
	notify(state);
}

/* systemd.exec(5). What we start inherits the variable, and has another number. */
static bool is_started_by_systemd(void)
{
	const char *pid = getenv("SYSTEMD_EXEC_PID");

	return pid != NULL && strtol(pid, NULL, 10) == (long)getpid();
}

bool notify_may_change_main_pid(void)
{
#ifdef HAVE_SYSTEMD
	if (getenv("NOTIFY_SOCKET") != NULL)
		return true;
#endif
	return !is_started_by_systemd();
}

void notify_main_pid(pid_t pid)
{
	char state[64];

	snprintf(state, sizeof state, "MAINPID=%ld\nREADY=1", (long)pid);
	notify(state);
}

/* How often systemd wants to hear from us [µs]; 0: never. */
static uint64_t watchdog_interval(void)
{
	uint64_t interval = 0;

#ifdef HAVE_SYSTEMD
	if (sd_watchdog_enabled(0, &interval) <= 0)
		return 0;
#endif
	return interval;
}

static void on_watchdog_timer(uv_timer_t *timer)
{
	struct notify_watchdog *w = container_of(timer, struct notify_watchdog, timer);

	if (w->asked)
		return; /* a worker is stuck, and systemd is to know it */
	w->asked = true;
	w->ask(w->data);
}

bool notify_watchdog_start(struct notify_watchdog *w, uv_loop_t *loop, void (*ask)(void *data),
			   void *data)
{
	uint64_t every_ms = watchdog_interval() / 1000 / 2;

	if (every_ms == 0)
		return false;
	w->asked = false;
	w->ask = ask;
	w->data = data;
	uv_timer_init(loop, &w->timer); /* neither can fail */
	uv_timer_start(&w->timer, on_watchdog_timer, every_ms, every_ms);
	return true;
}

void notify_watchdog_answered(struct notify_watchdog *w)
{
	w->asked = false;
	notify("WATCHDOG=1");
}

void notify_watchdog_stop(struct notify_watchdog *w)
{
	uv_close((uv_handle_t *)&w->timer, NULL);
}
