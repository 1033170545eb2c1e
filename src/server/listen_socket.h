/* SPDX-License-Identifier: MIT */
/* Listening sockets: bound as configured, with the options that accepted sockets inherit. */
#ifndef LISTEN_SOCKET_H
#define LISTEN_SOCKET_H

#include <stdint.h>

#include "base/bug.h"

struct endpoint;

#define LISTEN_SOCKET_ERROR_MAX 256

/* Open @count listening sockets for @e, one for each worker, into @ret_fds; connections are spread over
 * them (SO_REUSEPORT; a unix socket is shared). Port 0 takes a free one, the same for all.
 * Returns 0; or a negative errno with nothing left open, and what is wrong and what to do about it in @reterr. */
int listen_sockets_open(const struct endpoint *e, unsigned count, int *ret_fds,
			char reterr[static LISTEN_SOCKET_ERROR_MAX]) MUST_CHECK;

/* What sockets accepted from the TCP socket @fd are to have: they inherit it, which saves the calls for each. */
void listen_socket_set_options(int fd);

/* Refuse connections and keep the port: TCP only. Accept what waits before, for it is reset; and watch the socket no more,
 * for it is always ready now. Nothing happens to one that is paused. Returns 0 or a negative errno. */
int listen_socket_pause(int fd) MUST_CHECK;

/* Listen, again or for the first time, with the backlog that ours have. Returns 0 or a negative errno. */
int listen_socket_resume(int fd) MUST_CHECK;

/* The port that @fd is bound to; 0 for a unix socket. */
uint16_t listen_socket_port(int fd);

/* New clients cannot find a unix socket any more; nothing for others. */
void listen_socket_unlink(const struct endpoint *e);

#endif
