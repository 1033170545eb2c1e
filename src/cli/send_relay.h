/* SPDX-License-Identifier: MIT */
/* The standard streams on one side, a socket on the other. */
#ifndef SEND_RELAY_H
#define SEND_RELAY_H

#include <stddef.h>

#include "base/bug.h"

/* Send the @size bytes of @header (at most PROXY_HEADER_MAX), then stdin to @fd and @fd to stdout, until the
 * peer closes. The end of stdin closes the sending side. @fd stays the caller's, and becomes
 * non-blocking; @name is the peer in messages. Returns an exit status; errors went to stderr. */
int send_relay(int fd, const char *name, const void *header, size_t size) MUST_CHECK;

#endif
