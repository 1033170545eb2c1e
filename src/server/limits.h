/* SPDX-License-Identifier: MIT */
/* What the limit on open files is enough for. */
#ifndef LIMITS_H
#define LIMITS_H

/* Raise the soft limit on open files to the hard one, and return it. */
unsigned limits_raise_fds(void);

/* Pipes for splicing, so that each worker may have: together they take at most an eighth of the descriptors. */
unsigned limits_pipes(unsigned fds, unsigned workers);

/* How many connections @fds are enough for, with so many workers and listening sockets. At least 1. */
unsigned limits_connections(unsigned fds, unsigned workers, unsigned sockets);

#endif
