/* SPDX-License-Identifier: MIT */
/* Work for another thread's loop: how the server speaks to its workers, and they answer. */
#ifndef MAILBOX_H
#define MAILBOX_H

#include <stdbool.h>

#include <uv.h>

#include "base/bug.h"
#include "base/list.h"

struct mail;

/* Runs on the thread of the mailbox's loop. @m is the callee's again: it may free it or post it elsewhere. */
typedef void (*mail_cb)(struct mail *m);

/* One piece of work; lies inside what it is about. */
struct mail {
	struct list link;
	mail_cb cb;
};

struct mailbox {
	uv_async_t wake;
	uv_mutex_t mutex; /* guards the next two */
	struct list mails;
	bool closed;
};

/* Returns 0 or a libuv error with nothing left open. */
int mailbox_open(struct mailbox *box, uv_loop_t *loop) MUST_CHECK;

/* Mails come in the order in which they were posted. Returns true: @cb runs soon, once, on the mailbox's thread; or
 * false: the mailbox has closed, @m is still yours. Any thread. */
bool mailbox_post(struct mailbox *box, struct mail *m, mail_cb cb) MUST_CHECK;

/* Runs what was posted so far and takes no more. On the mailbox's thread, or after it has ended. The loop must still
 * run to close the handle; the memory, and mailbox_post() on it, are good until mailbox_fini(). */
void mailbox_close(struct mailbox *box);

/* Closed, and its loop has run out. */
void mailbox_fini(struct mailbox *box);

#endif
