/* SPDX-License-Identifier: MIT */
/* The log of `unproxy demo`: it comes through a pipe, so that each line can be shown where it belongs in
 * the explanation, folded to fit a terminal. */
#ifndef DEMO_LOG_H
#define DEMO_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/bug.h"

struct log;

struct demo_log {
	struct log *log; /* text; its output is the pipe */
	int fd;          /* where it comes out */
	pthread_t follower;
	bool following;
	size_t used; /* of data [bytes] */
	char data[32768];
};

/* Returns 0 or a negative errno. */
int demo_log_open(struct demo_log *l) MUST_CHECK;

/* Show what was logged on stderr, up to a line that has @text in it. Returns false if none came in time. */
bool demo_log_show_until(struct demo_log *l, const char *text);

/* Show everything from now on, as it comes. */
void demo_log_follow(struct demo_log *l);

/* End the log, and free what belongs to it. */
void demo_log_close(struct demo_log *l);

#endif
