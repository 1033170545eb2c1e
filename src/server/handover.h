/* SPDX-License-Identifier: MIT */
/* SIGUSR2: start the program that now stands in our place, with our listening sockets, and wait until it serves. */
#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <uv.h>

#include "base/bug.h"

struct handover;

#define HANDOVER_ERROR_MAX 512

/* How long the new program may take until it serves [ms]. */
#define HANDOVER_READY_MS 60000

/* Remember where this program lies, before its file is replaced: argv[0] if that leads to it (a symbolic link may lead
 * to another version tomorrow), otherwise what the kernel knows. @argv0 is as main() got it. Once, at the start. */
void handover_remember_program(const char *argv0);

/* @pid serves, and we are to drain: @failure is NULL. Or it has come to nothing, and we go on: @failure says why. The
 * handover is over and @h gone. */
typedef void (*handover_cb)(void *data, pid_t pid, const char *failure);

/* What the new program gets; all borrowed for the call. */
struct handover_options {
	uv_loop_t *loop;
	const int *fds;           /* listening sockets */
	const char *const *names; /* of each, for LISTEN_FDNAMES: without ':' */
	size_t count;
	bool net_raw;      /* it needs CAP_NET_RAW, and we have it */
	unsigned ready_ms; /* HANDOVER_READY_MS */
	handover_cb cb;
	void *data;
};

/* Start the program as we were started: arguments, environment, working directory, standard descriptors. Returns 0: @cb
 * runs later, once, unless handover_cancel() comes before. Returns a negative errno with the reason in @reterr:
 * nothing was started. */
int handover_start(const struct handover_options *options, struct handover **ret,
		   char reterr[static HANDOVER_ERROR_MAX]) MUST_CHECK;

/* We are to stop: so is the new program (SIGTERM). The loop must still run to free the memory. NULL does nothing. */
void handover_cancel(struct handover *h);

/* --- in the new program --- */

/* Were we started by handover_start()? Then the descriptor by which to tell that we serve, otherwise -1. Takes the
 * variable out of the environment; once, before a thread is started. */
int handover_take_ready_fd(void);

/* We serve. Takes @ready_fd, which may be -1. */
void handover_report_ready(int ready_fd);

#endif
