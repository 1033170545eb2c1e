/* SPDX-License-Identifier: MIT */
/* One listening socket of one worker: accepts, and starts sessions. */
#ifndef LISTENER_H
#define LISTENER_H

#include <stdbool.h>

#include "base/bug.h"
#include "base/list.h"
#include "session/deadline.h"
#include "session/poller.h"
#include "session/service.h"
#include "session/session_env.h"

struct listener {
	struct list link;                /* the owner's */
	struct session_env *env;         /* NULL until attached */
	struct session_service *service; /* of new connections; a reference; NULL once stopped */
	struct poller_watch watch;
	struct deadline_queue resume; /* of one: when to accept again after a shortage */
	struct deadline pause;
	int fd;                  /* -1: it accepts no more */
	bool watched;            /* by the poller; not so during a pause */
	bool refuses;            /* the socket does not listen at present */
	bool short_of_something; /* the last accept failed for want of descriptors or memory */
};

/* Takes the listening socket @fd and the reference @service, which is attached to no worker yet. Any thread. NULL
 * when out of memory; then both are still yours. */
struct listener *listener_create(int fd, struct session_service *service) MUST_CHECK;

/* Give it, and its service, to a worker. From now on it is that thread's. */
void listener_attach(struct listener *l, struct session_env *env);

/* Accept connections. Returns 0 or a negative errno. */
int listener_start(struct listener *l) MUST_CHECK;

/* The same for when it is too late for an error: what the kernel refuses is tried again as after a shortage. */
void listener_start_or_retry(struct listener *l);

/* New connections are for @service, whose reference it takes; those that are open keep theirs. Addresses that a name
 * has been found to have meanwhile stay known. Not once stopped. */
void listener_set_service(struct listener *l, struct session_service *service);

/* Accept what has connected so far, and have the kernel refuse others until listener_reopen(); the port stays ours. TCP
 * only. Neither is needed twice, and neither fails: what the kernel refuses is tried again as after a shortage. */
void listener_shut(struct listener *l);
void listener_reopen(struct listener *l);

/* Accept what has connected so far and then no more; its sessions go on, and its service goes with them. Idempotent. */
void listener_stop(struct listener *l);

/* Stopped, or never attached, and no event of the current round can name it. NULL does nothing. */
void listener_destroy(struct listener *l);

#endif
