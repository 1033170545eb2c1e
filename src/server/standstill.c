/* SPDX-License-Identifier: MIT */
/* Happy path: each worker is sent a mail, and waits in it until all others do so too and the main thread has done its work.
 *
 * What can go wrong: a worker is stuck. It is not waited for, and finds that it is over when it reads its mail. So the
 * memory goes with whoever leaves last. */
#include "server/standstill.h"

#include <errno.h>
#include <stdlib.h>

#include <uv.h>

#include "server/server_private.h"

struct standstill_call {
	struct mail mail;
	struct standstill *standstill;
};

struct standstill {
	uv_mutex_t mutex; /* guards what follows */
	uv_cond_t changed;
	unsigned standing; /* workers */
	bool over;
	unsigned users; /* who have not left: workers that were called, and the main thread */
	struct standstill_call calls[];
};

/* The mutex is locked, and is unlocked here. */
static void standstill_leave(struct standstill *st)
{
	bool is_last = --st->users == 0;

	uv_mutex_unlock(&st->mutex);
	if (!is_last)
		return;
	uv_cond_destroy(&st->changed);
	uv_mutex_destroy(&st->mutex);
	free(st);
}

/* On the worker's thread. */
static void standstill_on_call(struct mail *m)
{
	struct standstill *st = container_of(m, struct standstill_call, mail)->standstill;

	uv_mutex_lock(&st->mutex);
	st->standing++;
	uv_cond_broadcast(&st->changed);
	while (!st->over)
		uv_cond_wait(&st->changed, &st->mutex);
	standstill_leave(st);
}

static int standstill_create(unsigned workers, struct standstill **ret)
{
	struct standstill *st = calloc(1, sizeof *st + workers * sizeof st->calls[0]);
	int rv;

	if (st == NULL)
		return -ENOMEM;
	rv = uv_mutex_init(&st->mutex);
	if (rv == 0) {
		rv = uv_cond_init(&st->changed);
		if (rv == 0) {
			st->users = 1;
			*ret = st;
			return 0;
		}
		uv_mutex_destroy(&st->mutex);
	}
	free(st);
	return rv;
}

/* Returns whether @count workers stand still. */
static bool standstill_wait(struct standstill *st, unsigned count)
{
	uint64_t end_ns = uv_hrtime() + STANDSTILL_PATIENCE_MS * UINT64_C(1000000);
	uint64_t now_ns;
	bool all;

	uv_mutex_lock(&st->mutex);
	while (st->standing < count && (now_ns = uv_hrtime()) < end_ns)
		uv_cond_timedwait(&st->changed, &st->mutex, end_ns - now_ns);
	all = st->standing == count;
	uv_mutex_unlock(&st->mutex);
	return all;
}

int standstill_begin(struct server *s, struct standstill **ret)
{
	struct standstill *st;
	int rv = standstill_create(s->worker_count, &st);

	if (rv != 0)
		return rv;
	st->users += s->worker_count;
	for (unsigned i = 0; i < s->worker_count; i++) {
		bool posted;

		st->calls[i].standstill = st;
		posted =
		    mailbox_post(&s->workers[i]->mailbox, &st->calls[i].mail, standstill_on_call);
		assert(posted); /* it serves */
		(void)posted;
	}
	if (!standstill_wait(st, s->worker_count)) {
		standstill_end(st);
		return -ETIMEDOUT;
	}
	*ret = st;
	return 0;
}

void standstill_end(struct standstill *st)
{
	uv_mutex_lock(&st->mutex);
	st->over = true;
	uv_cond_broadcast(&st->changed);
	standstill_leave(st);
}
