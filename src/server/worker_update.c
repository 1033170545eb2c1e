/* SPDX-License-Identifier: MIT */
#include "server/worker_update.h"

#include <stdlib.h>

#include "server/listener.h"
#include "server/worker.h"

struct worker_update *worker_update_create(struct worker *w, size_t max)
{
	struct worker_update *u = calloc(1, sizeof *u + max * sizeof u->changes[0]);

	if (u != NULL)
		u->worker = w;
	return u;
}

void worker_update_append(struct worker_update *u, const struct worker_change *change)
{
	u->changes[u->count++] = *change;
}

static void worker_change_apply(struct worker *w, const struct worker_change *change)
{
	switch (change->kind) {
	case WORKER_ADD_LISTENER:
		worker_add_listener(w, change->listener);
		listener_start_or_retry(change->listener);
		break;
	case WORKER_SET_SERVICE:
		listener_set_service(change->listener, change->service);
		break;
	case WORKER_REMOVE_LISTENER:
		listener_stop(change->listener);
		/* Mail comes after the events of a round, so none is left that names it. */
		listener_destroy(change->listener);
		break;
	case WORKER_SHUT_LISTENER:
		listener_shut(change->listener);
		break;
	case WORKER_REOPEN_LISTENER:
		listener_reopen(change->listener);
		break;
	}
}

static void worker_update_on_mail(struct mail *m)
{
	struct worker_update *u = container_of(m, struct worker_update, mail);
	struct worker *w = u->worker;

	for (size_t i = 0; i < u->count; i++)
		worker_change_apply(w, &u->changes[i]);
	u->applied_cb(u);
	session_env_reap(&w->env); /* what was accepted last may be over already */
}

void worker_update_post(struct worker_update *u)
{
	bool posted = u->worker->told == WORKER_SERVE &&
		      mailbox_post(&u->worker->mailbox, &u->mail, worker_update_on_mail);

	assert(posted); /* it serves */
	(void)posted;
}
