/* SPDX-License-Identifier: MIT */
/* The pages of the admin endpoint, from what the server knows to text. */
#ifndef PAGE_H
#define PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admin/http_answer.h"
#include "base/bug.h"

struct service_shared;
struct strbuf;

/* A listener, for the time of a call. Everything is borrowed. */
struct page_listener {
	const char *name;
	const struct service_shared *shared;
	bool open;           /* it accepts connections */
	bool checked;        /* upstream_check is on */
	bool up;             /* if so, the last one reached the upstream */
	const char *unready; /* why it is not ready, for people; NULL: it is */
};

/* What the pages tell. */
struct page_input {
	const struct page_listener *listeners;
	size_t listener_count;
	unsigned workers;
	bool draining;
	uint64_t log_dropped;    /* lines */
	uint64_t reloads;        /* configurations that were applied after the first */
	uint64_t reloads_failed; /* that were refused */
	bool last_reload_failed;
};

/* Text from malloc(), or NULL when out of memory. */
struct page {
	enum http_status status;
	const char *type; /* Content-Type */
	char *body;
	size_t size; /* without the terminating zero [bytes] */
};

/* Let @render write into a buffer of @guess bytes, and again into ever larger ones until it is not cut. @ret_size is
 * without the terminating zero. Returns NULL when out of memory. */
char *page_render(void (*render)(struct strbuf *out, const void *data), const void *data,
		  size_t guess, size_t *ret_size) MUST_CHECK;

/* "/": what pages there are. */
void page_index(struct page *ret);

/* "/metrics" */
void page_metrics(const struct page_input *in, struct page *ret);

/* "/readyz": 503, and why, while connections should go elsewhere. */
void page_ready(const struct page_input *in, struct page *ret);

/* "/healthz": 503 if a worker is stuck; @stuck is a list of @count. */
void page_health(const unsigned *stuck, size_t count, struct page *ret);

#endif
