/* SPDX-License-Identifier: MIT */
/* SIGUSR2: start the program that now lies in our place, with our listening sockets, and wait until it serves. */
#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <uv.h>

#include "base/bug.h"

struct handover;
struct program;

#define HANDOVER_ERROR_MAX 512

/* How long the new program may take until it serves [ms]. */
#define HANDOVER_READY_MS 60000

/* @failure is NULL: @pid serves, and we are to drain. Otherwise it says why nothing came of it: we go on. The handover is
 * over, its memory goes by itself. */
typedef void (*handover_cb)(void *data, pid_t pid, const char *failure);

/* All borrowed for the call, but for what is said. */
struct handover_options {
	uv_loop_t *loop;
	const struct program *program;
	const int *fds;           /* listening sockets */
	const char *const *names; /* one for each, without ':', for LISTEN_FDNAMES */
	size_t count;
	unsigned ready_ms; /* HANDOVER_READY_MS */
	handover_cb cb;
	void *data;
};

/* Start the program as we were started: arguments, environment, working directory, standard descriptors, signals; with
 * CAP_NET_RAW if we have it. No other thread may close a descriptor that is in an epoll(7) set meanwhile. Returns 0: it
 * runs, and @cb is called later, once, unless handover_cancel() comes before. Returns a negative errno with the reason
 * in @reterr: nothing was started. */
int handover_start(const struct handover_options *options, struct handover **ret,
		   char reterr[static HANDOVER_ERROR_MAX]) MUST_CHECK;

/* We are to stop, and so is the new program (SIGTERM). No callback any more; the loop must still run to free the memory.
 * NULL does nothing. */
void handover_cancel(struct handover *h);

/* --- in the new program --- */

/* Were we started by handover_start()? Then the descriptor by which to tell that we serve, otherwise -1. Takes the
 * variable out of the environment; once, before a thread is started. */
int handover_take_ready_fd(void);

/* We serve. Takes @ready_fd, which may be -1. */
void handover_report_ready(int ready_fd);

#endif
