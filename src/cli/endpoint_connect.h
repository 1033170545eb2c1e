/* SPDX-License-Identifier: MIT */
/* A connection of a command's own, for the commands that are clients. */
#ifndef ENDPOINT_CONNECT_H
#define ENDPOINT_CONNECT_H

#include "base/bug.h"

struct address;
struct endpoint;

/* Connect to @e, at the first of a name's addresses that answers; waits as long as it takes. Returns a socket, with
 * what it is connected to in *@retpeer (AF_UNIX for a unix socket); or a negative errno after saying why. */
int endpoint_connect(const struct endpoint *e, struct address *retpeer) MUST_CHECK;

#endif
