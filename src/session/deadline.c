/* SPDX-License-Identifier: MIT */
#include "session/deadline.h"

#define NEVER UINT64_MAX

static void deadlines_on_timer(uv_timer_t *timer);

static struct deadline *deadline_queue_head(const struct deadline_queue *q)
{
	return container_of(q->entries.next, struct deadline, link);
}

/* Move the timer forward if @at_ms comes before it. It is never moved back: firing once in vain is
 * cheaper than looking for the next one at each disarm. */
static void deadlines_wake_by(struct deadlines *all, uint64_t at_ms)
{
	uint64_t now = uv_now(all->timer.loop);

	if (at_ms >= all->timer_at_ms)
		return;
	all->timer_at_ms = at_ms;
	/* Cannot fail: the callback is not NULL and the timer is not closing. */
	uv_timer_start(&all->timer, deadlines_on_timer, at_ms > now ? at_ms - now : 0, 0);
}

static void deadline_queue_expire(struct deadline_queue *q, uint64_t now)
{
	while (!list_is_empty(&q->entries) && deadline_queue_head(q)->at_ms <= now) {
		struct deadline *d = deadline_queue_head(q);

		list_remove(&d->link);
		q->cb(d);
	}
}

static void deadlines_on_timer(uv_timer_t *timer)
{
	struct deadlines *all = timer->data;
	uint64_t now = uv_now(timer->loop);

	all->timer_at_ms = NEVER;
	LIST_FOR_EACH (at, &all->queues) {
		struct deadline_queue *q = container_of(at, struct deadline_queue, link);

		deadline_queue_expire(q, now);
		if (!list_is_empty(&q->entries))
			deadlines_wake_by(all, deadline_queue_head(q)->at_ms);
	}
	if (all->after_cb != NULL)
		all->after_cb(all);
}

int deadlines_init(struct deadlines *all, uv_loop_t *loop)
{
	list_init(&all->queues);
	all->timer.data = all;
	all->timer_at_ms = NEVER;
	all->after_cb = NULL;
	return uv_timer_init(loop, &all->timer);
}

void deadlines_close(struct deadlines *all, uv_close_cb cb)
{
	uv_close((uv_handle_t *)&all->timer, cb);
}

void deadline_queue_init(struct deadline_queue *q, struct deadlines *all, unsigned wait_ms,
			 deadline_cb cb)
{
	list_init(&q->entries);
	q->all = all;
	q->cb = cb;
	q->wait_ms = wait_ms;
	list_append(&all->queues, &q->link);
}

void deadline_queue_fini(struct deadline_queue *q)
{
	assert(list_is_empty(&q->entries));
	list_remove(&q->link);
}

void deadline_init(struct deadline *d)
{
	list_init(&d->link);
	d->at_ms = 0;
}

void deadline_arm(struct deadline *d, struct deadline_queue *q)
{
	list_remove(&d->link);
	if (q->wait_ms == 0)
		return;
	d->at_ms = uv_now(q->all->timer.loop) + q->wait_ms;
	list_append(&q->entries, &d->link);
	deadlines_wake_by(q->all, d->at_ms);
}

void deadline_disarm(struct deadline *d)
{
	list_remove(&d->link);
}
