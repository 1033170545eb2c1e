/* SPDX-License-Identifier: MIT */
/* "/connections": the open sessions, oldest first. Each worker writes its part on its own thread, for nobody else may look
 * at its sessions. */
#ifndef PAGE_CONNECTIONS_H
#define PAGE_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct page;
struct session_env;

/* Of one worker; more are only counted. It takes a worker about 2 ms to write so many. */
#define PAGE_CONNECTIONS_MAX 1000

/* What one worker has written. */
struct connections_part {
	unsigned total; /* sessions that are open */
	unsigned shown; /* sessions in the text */
	char *text;     /* elements of a JSON array; owned; NULL: out of memory, or not written */
	size_t size;    /* [bytes] */
};

/* On the worker's thread. */
void connections_part_write(const struct session_env *env, struct connections_part *ret);

/* The page. The parts' texts are borrowed. */
void page_connections(const struct connections_part *parts, unsigned count, struct page *ret);

void connections_part_fini(struct connections_part *part);

#endif
