/* SPDX-License-Identifier: MIT */
/* One listening socket of one worker: accepts, and starts sessions. */
#ifndef LISTENER_H
#define LISTENER_H

#include <stdbool.h>

#include "base/bug.h"
#include "session/deadline.h"
#include "session/poller.h"
#include "session/session_env.h"

struct listener {
	struct session_service service;
	struct poller_watch watch;
	struct deadline_queue resume; /* of one: when to accept again after a shortage */
	struct deadline pause;
	int fd;                  /* -1: it accepts no more */
	bool watched;            /* by the poller; not so during a pause */
	bool short_of_something; /* the last accept failed for want of descriptors or memory */
};

/* The listener takes the listening socket @fd; the others as session_service_init() has them. */
void listener_init(struct listener *l, int fd, struct session_env *env,
		   const struct listener_config *config, struct admission *admission,
		   const struct upstream_addresses addresses[2]);

/* Accept connections. Returns 0 or a negative errno. */
int listener_start(struct listener *l) MUST_CHECK;

/* Accept what has connected so far and then no more; its sessions go on. Idempotent. */
void listener_stop(struct listener *l);

/* Stopped, its sessions over. */
void listener_fini(struct listener *l);

#endif
