/* SPDX-License-Identifier: MIT */
/* Answers requests for /connections: asks all workers at a time, and not too often, for they have better things to do. */
#ifndef ADMIN_CONNECTIONS_H
#define ADMIN_CONNECTIONS_H

#include "base/bug.h"

struct admin_connections;
struct admin_request;
struct server;

/* Between two questions: a worker writes for 2 ms at most, so this is a fiftieth of its time [ms]. */
#define ADMIN_CONNECTIONS_PAUSE_MS 100

/* Who has not heard from all workers by then is told so [ms]. */
#define ADMIN_CONNECTIONS_PATIENCE_MS 2000

/* More do not wait at a time: others of ADMIN_REQUESTS_MAX must be left, for those who ask whether we live. */
#define ADMIN_CONNECTIONS_WAITING_MAX 32

/* @s is borrowed; its loop is open. NULL when out of memory. */
struct admin_connections *admin_connections_create(struct server *s) MUST_CHECK;

/* Takes @r, and answers it. */
void admin_connections_ask(struct admin_connections *c, struct admin_request *r);

/* The server is about to close its mailbox and its loop. Who still waits is sent away. */
void admin_connections_close(struct admin_connections *c);

/* Closed, and the loop has run out. NULL does nothing. */
void admin_connections_destroy(struct admin_connections *c);

#endif
