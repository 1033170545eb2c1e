/* SPDX-License-Identifier: MIT */
#include "loop/send_fault.h"

#include <errno.h>
#include <sys/socket.h>

static long allowed = -1;

ssize_t __real_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);

void send_fault_allow(long bytes)
{
	allowed = bytes;
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
	ssize_t n;

	if (allowed < 0)
		return __real_send(fd, data, size, flags);
	if (allowed == 0) {
		errno = EAGAIN;
		return -1;
	}
	n = __real_send(fd, data, size < (size_t)allowed ? size : (size_t)allowed, flags);
	if (n > 0)
		allowed -= n;
	return n;
}
