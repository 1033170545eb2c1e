/* SPDX-License-Identifier: MIT */
/* Deadlines by the thousand: one queue per waiting time, one uv_timer_t per worker, O(1) to arm,
 * to move and to drop. */
#ifndef DEADLINE_H
#define DEADLINE_H

#include <stdint.h>

#include <uv.h>

#include "base/bug.h"
#include "base/list.h"

/* One thing's deadline; lies inside that thing. */
struct deadline {
	struct list link; /* in a queue's entries, or in none */
	uint64_t at_ms;   /* uv_now() when it is due [ms] */
};

/* Runs once for each deadline that is due; it is in no queue any more. */
typedef void (*deadline_cb)(struct deadline *d);

/* Deadlines that all wait equally long, so arrival order is expiry order. */
struct deadline_queue {
	struct list entries; /* struct deadline, next due first */
	struct list link;    /* in deadlines.queues */
	struct deadlines *all;
	deadline_cb cb;
	unsigned wait_ms; /* 0: nothing is ever due */
};

/* All queues of one worker. */
struct deadlines {
	struct list queues;
	uv_timer_t timer;
	uint64_t timer_at_ms; /* when the timer fires; UINT64_MAX: it is stopped */
	void (*after_cb)(
	    struct deadlines *all); /* after a round that called someone back, or NULL */
};

/* Returns 0 or a libuv error. */
int deadlines_init(struct deadlines *all, uv_loop_t *loop) MUST_CHECK;

/* Asynchronous; no queue may have entries. */
void deadlines_close(struct deadlines *all, uv_close_cb cb);

void deadline_queue_init(struct deadline_queue *q, struct deadlines *all, unsigned wait_ms,
			 deadline_cb cb);
void deadline_queue_fini(struct deadline_queue *q);

/* In no queue. */
void deadline_init(struct deadline *d);

/* (Re)start the wait of @q for @d, from now; it leaves the queue that it was in. */
void deadline_arm(struct deadline *d, struct deadline_queue *q);

/* Idempotent. */
void deadline_disarm(struct deadline *d);

#endif
