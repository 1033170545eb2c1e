/* SPDX-License-Identifier: MIT */
/* Changes to the listeners of a worker while it serves: what may fail has been done before. */
#ifndef WORKER_UPDATE_H
#define WORKER_UPDATE_H

#include <stddef.h>

#include "base/bug.h"
#include "server/mailbox.h"

struct listener;
struct session_service;
struct worker;

enum worker_change_kind {
	WORKER_ADD_LISTENER,
	WORKER_SET_SERVICE,     /* of a listener that it has */
	WORKER_REMOVE_LISTENER, /* it accepts what has connected so far, and is freed */
	WORKER_SHUT_LISTENER,   /* it does so too, and refuses others */
	WORKER_REOPEN_LISTENER,
};

struct worker_change {
	enum worker_change_kind kind;
	struct listener *listener;
	struct session_service *service; /* SET_SERVICE: the worker takes it */
};

struct worker_update {
	struct mail mail;
	struct worker *worker;
	void (*applied_cb)(
	    struct worker_update *u); /* on the worker's thread; the update is the callee's */
	void *data;
	size_t count;
	struct worker_change changes[];
};

/* An empty one with room for @max changes; free() it. NULL when out of memory. */
struct worker_update *worker_update_create(struct worker *w, size_t max) MUST_CHECK;

void worker_update_append(struct worker_update *u, const struct worker_change *change);

/* The worker serves: it was not told to drain or stop. The changes are made soon, all together, before it accepts
 * another connection; then @applied_cb runs, set by the caller. Main thread. */
void worker_update_post(struct worker_update *u);

#endif
