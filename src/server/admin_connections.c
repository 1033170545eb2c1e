/* SPDX-License-Identifier: MIT */
/* Happy path: the request waits; every worker is sent a mail, writes its part, and sends the mail back; after the last one,
 * all who have been waiting get the page.
 *
 * What can go wrong:
 * - Somebody asks all the time: the next question follows after a pause, for all who have come in between.
 * - Very many ask: most are sent away, or nobody could ask for anything else.
 * - A worker does not answer: those who wait are told so, and so are those who come until it does.
 * - A worker has ended, or has no memory: its part is missing, and the page says that it is not complete. */
#include "server/admin_connections.h"

#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "admin/admin_server.h"
#include "server/mailbox.h"
#include "server/page.h"
#include "server/page_connections.h"
#include "server/server_private.h"
#include "server/worker.h"

/* To a worker and back. */
struct question {
	struct mail mail;
	struct admin_connections *owner;
	struct worker *worker;
	struct connections_part *part; /* to be written */
};

struct admin_connections {
	struct server *server;
	uv_timer_t timer; /* the pause, or the workers' patience */
	struct admin_request *waiting[ADMIN_CONNECTIONS_WAITING_MAX];
	unsigned waiting_count;
	struct question *questions;     /* by worker */
	struct connections_part *parts; /* by worker */
	unsigned left;                  /* workers that have not answered */
	uint64_t asked_ms;              /* uv_now() of the last question */
	bool late;                      /* somebody has been told that they do not answer */
};

static void answer_all(struct admin_connections *c, const struct page *page)
{
	for (unsigned i = 0; i < c->waiting_count; i++) {
		char *body = page->body == NULL ? NULL : malloc(page->size + 1);

		if (body == NULL) {
			admin_request_answer_text(c->waiting[i], HTTP_INTERNAL_ERROR,
						  "out of memory");
			continue;
		}
		memcpy(body, page->body, page->size + 1);
		admin_request_answer(c->waiting[i], page->status, page->type, body, page->size);
	}
	c->waiting_count = 0;
}

static void send_all_away(struct admin_connections *c, const char *why)
{
	for (unsigned i = 0; i < c->waiting_count; i++)
		admin_request_answer_text(c->waiting[i], HTTP_UNAVAILABLE, why);
	c->waiting_count = 0;
}

/* --- workers --- */

static void admin_connections_finish(struct admin_connections *c)
{
	unsigned workers = c->server->worker_count;
	struct page page;

	uv_timer_stop(&c->timer);
	page_connections(c->parts, workers, &page);
	answer_all(c, &page);
	free(page.body);
	for (unsigned i = 0; i < workers; i++)
		connections_part_fini(&c->parts[i]);
}

static void question_is_over(struct question *q)
{
	if (--q->owner->left == 0)
		admin_connections_finish(q->owner);
}

static void question_on_answer(struct mail *m)
{
	question_is_over(container_of(m, struct question, mail));
}

/* On the worker's thread. */
static void question_on_mail(struct mail *m)
{
	struct question *q = container_of(m, struct question, mail);
	bool posted;

	connections_part_write(&q->worker->env, q->part);
	posted = mailbox_post(&q->owner->server->mailbox, m, question_on_answer);
	assert(posted); /* the main thread joins its workers before it closes the mailbox */
	(void)posted;
}

static void admin_connections_on_late(uv_timer_t *timer)
{
	struct admin_connections *c = timer->data;

	c->late = true;
	send_all_away(c, "a worker does not answer");
}

static void admin_connections_start(struct admin_connections *c)
{
	const struct server *s = c->server;

	c->asked_ms = uv_now(&s->loop);
	c->late = false;
	c->left = s->worker_count;
	uv_timer_start(&c->timer, admin_connections_on_late, ADMIN_CONNECTIONS_PATIENCE_MS, 0);
	for (unsigned i = 0; i < s->worker_count; i++) {
		struct question *q = &c->questions[i];

		c->parts[i] = (struct connections_part){ .total = 0 };
		q->owner = c;
		q->worker = s->workers[i];
		q->part = &c->parts[i];
		if (!mailbox_post(&q->worker->mailbox, &q->mail, question_on_mail))
			question_is_over(q); /* it has no connection any more */
	}
}

/* --- requests --- */

static_assert(ADMIN_CONNECTIONS_WAITING_MAX <= ADMIN_REQUESTS_MAX / 2, "leave room for others");

static void admin_connections_on_pause_over(uv_timer_t *timer)
{
	admin_connections_start(timer->data);
}

void admin_connections_ask(struct admin_connections *c, struct admin_request *r)
{
	uint64_t since_ms = uv_now(&c->server->loop) - c->asked_ms;

	if (c->waiting_count == ARRAY_SIZE(c->waiting)) {
		admin_request_answer_text(r, HTTP_UNAVAILABLE, "too many ask for it");
		return;
	}
	c->waiting[c->waiting_count++] = r;
	if (c->left > 0 && c->late)
		send_all_away(c, "a worker does not answer");
	if (c->left > 0 || uv_is_active((uv_handle_t *)&c->timer))
		return;
	if (since_ms >= ADMIN_CONNECTIONS_PAUSE_MS)
		admin_connections_start(c);
	else
		uv_timer_start(&c->timer, admin_connections_on_pause_over,
			       ADMIN_CONNECTIONS_PAUSE_MS - since_ms, 0);
}

/* --- start and end --- */

struct admin_connections *admin_connections_create(struct server *s)
{
	struct admin_connections *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->questions = calloc(s->workers_wanted, sizeof *c->questions);
	c->parts = calloc(s->workers_wanted, sizeof *c->parts);
	if (c->questions == NULL || c->parts == NULL) {
		admin_connections_destroy(c);
		return NULL;
	}
	c->server = s;
	uv_timer_init(&s->loop, &c->timer);
	c->timer.data = c;
	return c;
}

void admin_connections_close(struct admin_connections *c)
{
	send_all_away(c, "unproxy is about to end");
	uv_close((uv_handle_t *)&c->timer, NULL);
}

void admin_connections_destroy(struct admin_connections *c)
{
	if (c == NULL)
		return;
	free(c->questions);
	free(c->parts);
	free(c);
}
