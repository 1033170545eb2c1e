/* SPDX-License-Identifier: MIT */
#include "server/mailbox.h"

static void mailbox_run(struct list *mails)
{
	LIST_FOR_EACH_SAFE (at, mails) {
		struct mail *m = container_of(at, struct mail, link);

		list_remove(at);
		m->cb(m);
	}
}

/* Take what is there; the callbacks run without the mutex, for they may post. */
static void mailbox_take(struct mailbox *box, bool close, struct list *ret)
{
	uv_mutex_lock(&box->mutex);
	list_move(&box->mails, ret);
	if (close)
		box->closed = true;
	uv_mutex_unlock(&box->mutex);
}

static void mailbox_on_wake(uv_async_t *wake)
{
	struct mailbox *box = container_of(wake, struct mailbox, wake);
	struct list mails;

	mailbox_take(box, false, &mails);
	mailbox_run(&mails);
}

int mailbox_open(struct mailbox *box, uv_loop_t *loop)
{
	int rv = uv_mutex_init(&box->mutex);

	if (rv != 0)
		return rv;
	rv = uv_async_init(loop, &box->wake, mailbox_on_wake);
	if (rv != 0) {
		uv_mutex_destroy(&box->mutex);
		return rv;
	}
	list_init(&box->mails);
	box->closed = false;
	return 0;
}

bool mailbox_post(struct mailbox *box, struct mail *m, mail_cb cb)
{
	bool open;

	m->cb = cb;
	list_init(&m->link);
	uv_mutex_lock(&box->mutex);
	open = !box->closed;
	if (open) {
		list_append(&box->mails, &m->link);
		/* Under the mutex: mailbox_close() must not close the handle meanwhile. */
		uv_async_send(&box->wake);
	}
	uv_mutex_unlock(&box->mutex);
	return open;
}

void mailbox_close(struct mailbox *box)
{
	struct list mails;

	if (box->closed)
		return;
	mailbox_take(box, true, &mails);
	uv_close((uv_handle_t *)&box->wake, NULL);
	mailbox_run(&mails);
}

void mailbox_fini(struct mailbox *box)
{
	assert(box->closed && list_is_empty(&box->mails));
	uv_mutex_destroy(&box->mutex);
}
