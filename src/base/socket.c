/* SPDX-License-Identifier: MIT */
#include "base/socket.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/address.h"

void socket_local_address(int fd, struct address *ret)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t size = sizeof ss;

	*ret = (struct address){ 0 };
	if (getsockname(fd, (struct sockaddr *)&ss, &size) == 0)
		address_from_sockaddr(ret, (const struct sockaddr *)&ss);
}

int socket_take_error(int fd)
{
	int error = 0;
	socklen_t size = sizeof error;

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? -error : -errno;
}

void socket_reset_on_close(int fd)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}
