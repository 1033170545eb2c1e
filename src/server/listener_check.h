/* SPDX-License-Identifier: MIT */
/* Does a listener's application accept connections, and what follows from that: a line in the log, /readyz, a metric,
 * and with `close_listener` that we accept none either. Main thread. */
#ifndef LISTENER_CHECK_H
#define LISTENER_CHECK_H

#include <stdbool.h>

#include "base/bug.h"

struct listener_check;
struct server;
struct server_listener;

/* @l is one of those that run, perhaps with another configuration than before: check its upstream from now on, go on
 * checking, or check no more. The workers serve. Returns 0, or -ENOMEM without a check. */
int listener_check_apply(struct server *s, struct server_listener *l) MUST_CHECK;

/* A program that was to take over came to nothing, and may have made the sockets listen: if @l is to refuse connections, it
 * does so again. */
void listener_check_after_handover(struct server *s, struct server_listener *l);

/* We are about to drain, and nobody follows yet. If @l refuses connections, its sockets listen again: systemd may hold them,
 * and takes one that does not for broken. */
void listener_check_let_go(struct server *s, struct server_listener *l);

/* Check no more; whether it accepts stays as it is. The loop must still run for callbacks. Idempotent. */
void listener_check_stop(struct server_listener *l);

/* Has the upstream been found to accept? */
bool listener_check_is_up(const struct server_listener *l);

/* Why @l is not ready to serve, for people, until the loop turns again; NULL: it is. */
const char *listener_check_unready(const struct server_listener *l);

#endif
