/* SPDX-License-Identifier: MIT */
/* SIGUSR2: the program that now lies in our place is started with our sockets; as soon as it serves, we drain. Main
 * thread. */
#ifndef UPGRADE_H
#define UPGRADE_H

struct server;

/* Start the new program; the log says what comes of it. If a reload is under way, as soon as that is done. */
void upgrade_start(struct server *s);

/* The server is to drain: so is a new program that does not serve yet. */
void upgrade_cancel(struct server *s);

#endif
