/* SPDX-License-Identifier: MIT */
#include "server/watchdog.h"

#include <errno.h>
#include <stdlib.h>

#include "server/notify.h"
#include "server/server_private.h"

/* A mail to one worker, and back. */
struct pulse {
	struct mail mail;
	struct watchdog *watchdog;
};

struct watchdog {
	struct notify_watchdog notify;
	struct server *server;
	bool stopped;
	unsigned left; /* workers that have not answered */
	struct pulse pulses[];
};

static void watchdog_on_answer(struct mail *m)
{
	struct watchdog *w = container_of(m, struct pulse, mail)->watchdog;

	if (--w->left == 0 && !w->stopped)
		notify_watchdog_answered(&w->notify);
}

/* On the worker's thread. */
static void watchdog_on_question(struct mail *m)
{
	const struct pulse *p = container_of(m, struct pulse, mail);
	bool posted = mailbox_post(&p->watchdog->server->mailbox, m, watchdog_on_answer);

	assert(posted); /* the main thread joins its workers before it closes the mailbox */
	(void)posted;
}

/* A worker that takes no mail any more has ended, and is not stuck. */
static void watchdog_ask(void *data)
{
	struct watchdog *w = data;
	struct server *s = w->server;

	w->left = s->worker_count;
	for (unsigned i = 0; i < s->worker_count; i++) {
		struct mail *m = &w->pulses[i].mail;

		if (!mailbox_post(&s->workers[i]->mailbox, m, watchdog_on_question))
			watchdog_on_answer(m);
	}
}

int watchdog_create(struct server *s, struct watchdog **ret)
{
	struct watchdog *w = calloc(1, sizeof *w + s->worker_count * sizeof w->pulses[0]);

	if (w == NULL)
		return -ENOMEM;
	w->server = s;
	for (unsigned i = 0; i < s->worker_count; i++)
		w->pulses[i].watchdog = w;
	if (!notify_watchdog_start(&w->notify, &s->loop, watchdog_ask, w)) {
		free(w);
		w = NULL;
	}
	*ret = w;
	return 0;
}

void watchdog_stop(struct watchdog *w)
{
	if (w == NULL || w->stopped)
		return;
	w->stopped = true;
	notify_watchdog_stop(&w->notify);
}

void watchdog_destroy(struct watchdog *w)
{
	free(w);
}
