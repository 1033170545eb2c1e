/* SPDX-License-Identifier: MIT */
/* The admin endpoint of the running server: where it listens, and who answers which page. Main thread. */
#ifndef ADMIN_H
#define ADMIN_H

#include <stdbool.h>

#include "base/bug.h"

struct admin;
struct config;
struct inherited_sockets;
struct server;
struct server_error;

/* @s is borrowed; its loop is open, and has to run also after a failure. It listens nowhere yet. Returns 0 or -ENOMEM. */
int admin_create(struct server *s, struct admin **ret) MUST_CHECK;

/* At the start, before admin_prepare(): use the socket that was passed to us for what @config asks for, if there is one.
 * Returns 0, or a negative errno with *@reterr set. */
int admin_claim(struct admin *a, struct config *config, struct inherited_sockets *inherited,
		struct server_error *reterr) MUST_CHECK;

/* Open the socket that @config asks for, unless that is the one there is: what may fail, and may take privileges. Nothing
 * changes until admin_apply(). Returns 0, or a negative errno with *@reterr set. */
int admin_prepare(struct admin *a, struct config *config, struct server_error *reterr) MUST_CHECK;

/* What was prepared comes to nothing. Idempotent. */
void admin_cancel(struct admin *a);

/* Prepared: listen there from now on, or nowhere, and log it if it is another place. The workers are there. */
void admin_apply(struct admin *a);

/* The socket that it listens on, or -1. *@ret_file_stays: it is no unix socket, or its file is not ours to remove. */
int admin_socket(const struct admin *a, bool *ret_file_stays);

/* Another process answers at that socket: accept no more, and leave its file. */
void admin_hand_over(struct admin *a);

/* Descriptors that it may take with this configuration. */
unsigned admin_descriptors(const struct config *config);

/* It answers until here, also while the server drains. The server's mailbox is still open; its loop has to run for the
 * callbacks. NULL does nothing. */
void admin_close(struct admin *a);

/* Closed, and the loop has run out. NULL does nothing. */
void admin_destroy(struct admin *a);

#endif
