/* SPDX-License-Identifier: MIT */
#include "server/admin_health.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "server/mailbox.h"
#include "server/worker.h"

/* A mail to one worker. */
struct beat {
	struct mail mail;
	atomic_bool under_way; /* sent, and not taken yet */
	uint64_t sent_ms;
};

struct admin_health {
	unsigned count;
	struct beat beats[]; /* by worker */
};

struct admin_health *admin_health_create(unsigned workers)
{
	struct admin_health *h = calloc(1, sizeof *h + workers * sizeof h->beats[0]);

	if (h != NULL)
		h->count = workers;
	return h;
}

/* On the worker's thread; the beat may be sent again as soon as it is not under way. */
static void beat_on_mail(struct mail *m)
{
	atomic_store(&container_of(m, struct beat, mail)->under_way, false);
}

static void beat_send(struct beat *b, struct worker *w, uint64_t now_ms)
{
	b->sent_ms = now_ms;
	atomic_store(&b->under_way, true);
	if (!mailbox_post(&w->mailbox, &b->mail, beat_on_mail))
		atomic_store(&b->under_way, false); /* it has ended, as it should */
}

size_t admin_health_check(struct admin_health *h, struct worker *const *workers, uint64_t now_ms,
			  unsigned *ret_stuck)
{
	size_t stuck = 0;

	for (unsigned i = 0; i < h->count; i++) {
		struct beat *b = &h->beats[i];

		if (!atomic_load(&b->under_way))
			beat_send(b, workers[i], now_ms);
		else if (now_ms - b->sent_ms > ADMIN_HEALTH_PATIENCE_MS)
			ret_stuck[stuck++] = i;
	}
	return stuck;
}

void admin_health_destroy(struct admin_health *h)
{
	free(h);
}
