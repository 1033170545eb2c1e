/* SPDX-License-Identifier: MIT */
/* What sockets are asked and told in more than one place. */
#ifndef SOCKET_H
#define SOCKET_H

struct address;

/* What @fd is bound to (getsockname(2)); AF_UNSPEC if that cannot be told. */
void socket_local_address(int fd, struct address *ret);

/* The error that is pending (SO_ERROR), as a negative errno, which thereby is over; 0: none. */
int socket_take_error(int fd);

/* close(2) is to end the connection by a reset. */
void socket_reset_on_close(int fd);

#endif
