/* SPDX-License-Identifier: MIT */
/* Happy path: all listening sockets, and that of the admin endpoint, are passed on (handover.c). Both programs accept
 * until the new one says that it serves; then this one drains, and leaves the files of unix sockets where they are.
 *
 * No worker may close a descriptor between fork(2) and execve(2): the child has them all for that long, and what is closed
 * here while it is open there goes on being reported by epoll(7). So they stand still.
 *
 * What can go wrong:
 * - The new program comes to nothing: this one goes on as if it had not been asked.
 * - A reload is asked for meanwhile: it waits, for the new program has its sockets from what runs now. If that comes to
 *   nothing, the reload follows; otherwise the new program is asked for it. */
#include "server/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "obs/log.h"
#include "server/admin.h"
#include "server/handover.h"
#include "server/inherited_socket.h"
#include "server/listener_check.h"
#include "server/notify.h"
#include "server/program.h"
#include "server/server_private.h"
#include "server/standstill.h"
#include "server/watchdog.h"

/* The name of a socket with nothing to remove, or whose file is somebody else's. */
#define PLAIN_NAME "unproxy"

/* What is passed on. */
struct upgrade_sockets {
	int *fds;
	const char **names;
	size_t count;
};

/* --- sockets --- */

static const char *name_for(bool file_stays)
{
	return file_stays ? PLAIN_NAME : INHERITED_SOCKET_OWN;
}

static void sockets_add(struct upgrade_sockets *sockets, int fd, bool file_stays)
{
	sockets->fds[sockets->count] = fd;
	sockets->names[sockets->count] = name_for(file_stays);
	sockets->count++;
}

static void sockets_fini(struct upgrade_sockets *sockets)
{
	free(sockets->fds);
	free(sockets->names);
}

/* In the order of the configuration: it matters to those that take any port. Returns false when out of memory. */
static bool sockets_init(struct upgrade_sockets *sockets, const struct server *s)
{
	size_t count = 1; /* the admin endpoint's */
	bool file_stays;
	int fd;

	for (size_t i = 0; i < s->listener_count; i++)
		count += s->listeners[i]->socket_count;
	sockets->count = 0;
	sockets->fds = calloc(count, sizeof *sockets->fds);
	sockets->names = calloc(count, sizeof(*sockets->names));
	if (sockets->fds == NULL || sockets->names == NULL) {
		sockets_fini(sockets);
		return false;
	}
	for (size_t i = 0; i < s->listener_count; i++) {
		const struct server_listener *l = s->listeners[i];

		for (unsigned k = 0; k < l->socket_count; k++)
			sockets_add(sockets, l->sockets[k].fd, l->file_stays);
	}
	fd = admin_socket(s->admin, &file_stays);
	if (fd >= 0)
		sockets_add(sockets, fd, file_stays);
	return true;
}

/* --- what comes of it --- */

static void upgrade_report_failure(struct server *s, const char *why)
{
	log_message(s->log_buffer, LOG_ERROR, "upgrade", "SIGUSR2: %s; this process serves on",
		    why);
	notify_status("SIGUSR2: %s; the old process serves on", why);
}

static void upgrade_fail(struct server *s, const char *why)
{
	const char *reload = s->reload_again;

	upgrade_report_failure(s, why);
	for (size_t i = 0; i < s->listener_count; i++)
		listener_check_after_handover(s, s->listeners[i]);
	s->reload_again = NULL;
	if (reload != NULL)
		reload_start(s, reload);
}

static void upgrade_succeed(struct server *s, pid_t pid)
{
	char why[64];

	s->handed_over = true;
	watchdog_stop(s->watchdog);
	notify_main_pid(pid);
	if (s->reload_again != NULL)
		kill(pid, SIGHUP); /* it may have read the configuration before */
	for (size_t i = 0; i < s->listener_count; i++)
		s->listeners[i]->file_stays = true;
	admin_hand_over(s->admin);
	snprintf(why, sizeof why, "SIGUSR2: process %ld has taken over", (long)pid);
	server_drain(s, why);
}

static void upgrade_on_done(void *data, pid_t pid, const char *failure)
{
	struct server *s = data;

	s->handover = NULL;
	if (failure != NULL)
		upgrade_fail(s, failure);
	else
		upgrade_succeed(s, pid);
}

/* --- the start --- */

/* Why there is nothing to be done about it, or NULL. */
static const char *upgrade_refusal(const struct server *s)
{
	if (s->phase != WORKER_SERVE)
		return "ignored, for we are to stop";
	if (s->handover != NULL)
		return "ignored, for a new program has been started already";
	if (s->program == NULL)
		return s->no_upgrade != NULL ? s->no_upgrade : "this program cannot be replaced";
	if (!notify_may_change_main_pid())
		return "ignored, for systemd would end the new program together with this one; it "
		       "takes Type=notify in the unit, and unproxy built with libsystemd";
	return NULL;
}

static int upgrade_hand_over(struct server *s, const struct handover_options *options,
			     char reterr[static HANDOVER_ERROR_MAX])
{
	struct standstill *standstill;
	int rv = standstill_begin(s, &standstill);

	if (rv != 0) {
		snprintf(reterr, HANDOVER_ERROR_MAX, "%s",
			 rv == -ETIMEDOUT ? "a worker is stuck" : strerror(-rv));
		return rv;
	}
	rv = handover_start(options, &s->handover, reterr);
	standstill_end(standstill);
	return rv;
}

static void upgrade_run(struct server *s)
{
	struct upgrade_sockets sockets;
	struct handover_options options = {
		.loop = &s->loop,
		.program = s->program,
		.ready_ms = HANDOVER_READY_MS,
		.cb = upgrade_on_done,
		.data = s,
	};
	char why[HANDOVER_ERROR_MAX] = "out of memory";
	int rv = -ENOMEM;

	if (sockets_init(&sockets, s)) {
		options.fds = sockets.fds;
		options.names = sockets.names;
		options.count = sockets.count;
		rv = upgrade_hand_over(s, &options, why);
		sockets_fini(&sockets);
	}
	if (rv != 0)
		upgrade_report_failure(s, why);
	else
		log_message(s->log_buffer, LOG_INFO, "upgrade", "SIGUSR2: starting %s",
			    s->program->path);
}

void upgrade_start(struct server *s)
{
	const char *refusal = upgrade_refusal(s);

	if (refusal != NULL)
		log_message(s->log_buffer, LOG_WARN, "upgrade", "SIGUSR2: %s", refusal);
	else if (s->reload != NULL)
		s->upgrade_again = true;
	else
		upgrade_run(s);
}

void upgrade_cancel(struct server *s)
{
	s->upgrade_again = false;
	handover_cancel(s->handover);
	s->handover = NULL;
}
